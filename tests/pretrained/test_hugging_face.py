"""Models on the Hugging Face Hub: a small one of our own, on this machine, is all that is asked."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import hub_server
import jax
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.pretrained import hugging_face, members, model_kinds
from isincnet_jax.pretrained.hugging_face import HubError, Repository
from isincnet_jax.pretrained.members import ModelFileError

huggingface_hub = pytest.importorskip(
    "huggingface_hub", reason="huggingface_hub is not installed; the extra hub brings it"
)
from huggingface_hub import constants, file_download  # noqa: E402

# The client's own.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
OTHER = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 1000}


@pytest.fixture(scope="module")
def codec():
    return isn.build_codec(isn.SincNet(SPEC, learnable_decoder=True))


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory):
    """The files of a stored model."""
    path = tmp_path_factory.mktemp("export") / "model"
    isn.export_pretrained(codec, path, card={"data": "none", "license": "mit"})
    return path


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub, and a client that knows no other and begins with an empty cache."""
    with hub_server.running() as hub:
        for name, value in {
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        _go_to(hub.url, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        _new_session()
        yield hub
        _new_session()


@pytest.fixture
def shared(server, exported):
    """A Hub with a model of ours."""
    server.commit("me/mine", {path.name: path.read_bytes() for path in exported.iterdir()})
    return server


def _go_to(url, monkeypatch):
    """As HF_ENDPOINT does before the client is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    for module in (constants, file_download):  # by the client's version
        name = "HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(
            module, name, url + "/{repo_id}/resolve/{revision}/{filename}", raising=False
        )


def _new_session():
    """Clients before 1.0 keep what they were told when their connection was made."""
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()


def _offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _new_session()


def _unreachable(monkeypatch):
    _go_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's attempts


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "name", "revision"),
        [
            ("hf://me/mine", "me/mine", None),
            ("HF://me/mine@main", "me/mine", "main"),
            ("me/my.model-2_b@refs/pr/1", "me/my.model-2_b", "refs/pr/1"),
            ("hf://me/mine@v1.0-rc", "me/mine", "v1.0-rc"),
        ],
    )
    def test_they_are_taken_apart(self, text, name, revision):
        assert hugging_face.parse_repository(text) == Repository(name, revision)

    @pytest.mark.parametrize(
        "text",
        [
            "hf://mine",
            "hf://me/mine/sub",
            "hf://me/mine@",
            "hf://me/mine@a b",
            "hf://",
            "hf:///a/b",
        ],
    )
    def test_others_are_refused(self, text):
        with pytest.raises(ValueError, match=rf"^{re.escape(text)}: write hf://owner/name or "):
            isn.from_pretrained(text)

    def test_they_are_written_as_they_are_read(self):
        for text in ("hf://me/mine", "hf://me/mine@v1"):
            assert str(hugging_face.parse_repository(text)) == text


class TestLoading:
    def test_a_model_comes_back_and_its_name_holds_the_commit(self, shared, codec):
        found = isn.from_pretrained("hf://me/mine")
        commit = shared.branches["me/mine"]["main"]
        assert found == dataclasses.replace(codec, name=f"hf://me/mine@{commit}")
        shared.commit("me/mine", {"config.json": b"{}"})  # the branch goes on
        assert isn.from_pretrained(found.name) == found

    def test_a_second_time_nothing_is_sent(self, shared):
        isn.from_pretrained("hf://me/mine")
        sent, asked = shared.sent, len(shared.log)
        found = isn.from_pretrained("hf://me/mine")
        assert shared.sent == sent > 0
        assert len(shared.log) == asked + 1  # where the branch is
        isn.from_pretrained(found.name)
        assert len(shared.log) == asked + 1

    def test_branches_tags_and_commits(self, shared, codec):
        doubled = dataclasses.replace(
            codec, variables=jax.tree.map(lambda leaf: 2 * leaf, codec.variables)
        )
        shared.branches["me/mine"]["refs/pr/1"] = shared.branches["me/mine"]["main"]
        address = isn.push_to_hub(doubled, "me/mine@twice")
        for name in ("hf://me/mine@twice", address):
            found = isn.from_pretrained(name)
            assert (found.name, dataclasses.replace(found, name="")) == (
                address,
                dataclasses.replace(doubled, name=""),
            )
        for name in ("hf://me/mine@main", "hf://me/mine@refs/pr/1"):
            np.testing.assert_array_equal(
                jax.tree.leaves(isn.from_pretrained(name).variables)[0],
                jax.tree.leaves(codec.variables)[0],
            )

    def test_offline_the_cache_does(self, shared, monkeypatch):
        found = isn.from_pretrained("hf://me/mine")
        asked = len(shared.log)
        _offline(monkeypatch)
        assert isn.from_pretrained("hf://me/mine") == found
        assert isn.from_pretrained(found.name) == found
        assert len(shared.log) == asked

    def test_a_dead_server_too(self, shared, monkeypatch):
        found = isn.from_pretrained("hf://me/mine")
        _unreachable(monkeypatch)
        assert isn.from_pretrained("hf://me/mine") == found

    def test_commands_take_the_address(self, shared, run, tmp_path):
        import soundfile

        soundfile.write(tmp_path / "in.wav", isn.demo_waveform(8000)[:4000], 8000)
        address = f"hf://me/mine@{shared.branches['me/mine']['main']}"
        status, out, err = run("describe hf://me/mine")
        assert (status, err) == (0, "")
        assert re.search(rf"^model +{address}$", out, re.MULTILINE)
        assert run("encode in.wav out.npz --model hf://me/mine")[0] == 0
        with np.load(tmp_path / "out.npz") as archive:
            assert json.loads(archive["header"].item())["model"] == address
        assert run("decode out.npz back.wav")[0] == 0
        assert soundfile.info(tmp_path / "back.wav").frames == 4000


class TestErrors:
    """In one line, that begins with the address."""

    def refused(self, kind, address, message):
        with pytest.raises(kind) as caught:
            isn.from_pretrained(address)
        assert re.fullmatch(rf"{re.escape(address)}: {message}", str(caught.value)), caught.value

    def test_no_such_repository(self, server):
        self.refused(
            HubError,
            "hf://me/gone",
            "no such repository, or a private one: check the name, or log in with `hf auth login`, "
            "or set HF_TOKEN",
        )

    def test_gated(self, shared):
        shared.gated.add("me/mine")
        self.refused(HubError, "hf://me/mine", "access is gated: ask for it .*, then log in .*")

    def test_no_such_revision(self, shared):
        self.refused(HubError, "hf://me/mine@v9", "has no revision 'v9'")

    def test_offline_and_not_cached(self, server, monkeypatch):
        _offline(monkeypatch)
        cache = re.escape(constants.HF_HUB_CACHE)
        self.refused(
            HubError, "hf://me/mine", rf"not in the cache {cache}, and HF_HUB_OFFLINE is set: .*"
        )

    def test_a_part_is_not_cached(self, shared, monkeypatch):
        huggingface_hub.HfApi().hf_hub_download("me/mine", "config.json")
        _offline(monkeypatch)
        self.refused(HubError, "hf://me/mine", "not in the cache .* HF_HUB_OFFLINE is set: .*")

    def test_no_answer_and_not_cached(self, server, monkeypatch):
        _unreachable(monkeypatch)
        self.refused(
            HubError, "hf://me/mine", r"not in the cache .*, and the Hub does not answer \(.*\)"
        )

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"a.txt": b""}, "has no config.json: no model of isincnet_jax"),
            (OTHER, r"its config.json is of another library \(model_type 'bert'\): no model .*"),
            ({"config.json": b"\xff"}, "its config.json is of another library: no model .*"),
            ({"config.json": b"[1]"}, "its config.json is of another library: no model .*"),
        ],
    )
    def test_something_else_is_there(self, server, files, message):
        server.commit("me/mine", files)
        self.refused(ModelFileError, "hf://me/mine", message)
        assert not any("safetensors" in line for line in server.log)

    def test_no_weights(self, server, exported):
        config = {"config.json": (exported / "config.json").read_bytes()}
        server.commit("me/mine", config)
        self.refused(
            ModelFileError, "hf://me/mine", "has no model.safetensors: no model of isincnet_jax"
        )

    def test_other_weights(self, shared):
        weights = shared.files("me/mine")["model.safetensors"]
        shared.commit("me/mine", {"model.safetensors": weights[:-1] + b"\x01"})
        with pytest.raises(ModelFileError, match=r"model.safetensors: truncated or altered"):
            isn.from_pretrained("hf://me/mine")

    def test_a_digest_is_for_addresses(self):
        with pytest.raises(ValueError, match="belongs to an address; 'hf://me/mine' is none"):
            isn.from_pretrained("hf://me/mine", sha256="0" * 64)


class TestPushing:
    @pytest.mark.parametrize("plain", [True, False], ids=["plain", "lfs"])
    def test_a_codec_comes_back(self, server, codec, plain):
        server.plain = plain
        address = isn.push_to_hub(codec, "hf://me/mine", card={"license": "mit"})
        commit = server.branches["me/mine"]["main"]
        assert address == f"hf://me/mine@{commit}"
        assert set(server.files("me/mine")) == {"config.json", "model.safetensors", "README.md"}
        assert any("info/lfs" in line for line in server.log) is not plain
        assert server.messages == [f"Model of kind sincnet, isincnet_jax {isn.__version__}"]
        assert isn.from_pretrained(address) == dataclasses.replace(codec, name=address)

    def test_the_card_has_figures(self, server, codec):
        isn.push_to_hub(codec, "me/mine", card={"license": "mit", "data": "noise"})
        text = server.files("me/mine")["README.md"].decode()
        front, rest = text.removeprefix("---\n").split("---\n", 1)
        assert "library_name: isincnet_jax" in front
        assert 'license: "mit"' in front
        assert 'isn.from_pretrained("hf://me/mine")' in rest
        assert "pip install 'isincnet-jax[hub]'" in rest
        rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", rest, re.MULTILINE))
        assert rows["data"] == "noise"
        assert rows["frame bounds"] == "0.03125 to 0.125, condition number 4"
        assert "model" not in rows  # the path of a temporary file
        waveform = isn.demo_waveform(8000)[None]
        again = np.asarray(codec.decode(codec.encode(waveform), length=waveform.shape[1]))
        wanted = 10 * np.log10(np.sum(waveform**2) / np.sum((again - waveform) ** 2))
        said = float(rows["built-in clip, decoded"].removesuffix(" dB SNR"))
        assert said == pytest.approx(wanted, abs=0.1)
        assert 30 < float(rows["built-in clip, decoded from 8 bits"].split()[0]) < said
        assert rows["measured by"].startswith("isn.push_to_hub: isincnet_jax ")

    def test_stored_models_keep_their_weights_and_card(self, server, exported):
        isn.push_to_hub(exported, "me/mine", card={"data": "noise"}, message="again")
        files = server.files("me/mine")
        assert files["model.safetensors"] == (exported / "model.safetensors").read_bytes()
        assert json.loads(files["config.json"])["card"] == {"data": "noise", "license": "mit"}
        assert server.messages == ["again"]

    def test_what_was_there_stays_and_is_only_replaced_if_it_is_ours(self, server, exported):
        server.commit("me/mine", {"LICENSE": b"mine"})
        isn.push_to_hub(exported, "me/mine")
        isn.push_to_hub(exported, "me/mine")
        assert server.files("me/mine")["LICENSE"] == b"mine"
        server.commit("me/bert", OTHER)
        with pytest.raises(FileExistsError, match=r"another library .* push to another repository"):
            isn.push_to_hub(exported, "me/bert")
        assert server.files("me/bert") == OTHER

    @pytest.mark.tail
    def test_a_vocoder_is_stored_in_half_precision(self, server):
        address = isn.push_to_hub("22khz-speech-vocoder", "me/vocoder")
        stored = isn.from_pretrained(address)
        shipped = isn.from_pretrained("22khz-speech-vocoder")
        assert stored == dataclasses.replace(shipped, name=address)
        again = isn.push_to_hub(stored, "me/again")
        assert isn.from_pretrained(again) == dataclasses.replace(shipped, name=again)
        assert (
            model_kinds.kind_of(shipped.model).name
            in server.files("me/again")["README.md"].decode()
        )

    @pytest.mark.tail
    def test_a_preset_and_the_command(self, server, run):
        status, out, err = run("push 16khz-linear me/linear@v1 --message first --private")
        assert (status, err) == (0, "")
        assert out.splitlines()[-1] == f"pushed hf://me/linear@{server.branches['me/linear']['v1']}"
        assert server.messages == ["first"]
        assert isn.from_pretrained("hf://me/linear@v1").spec == isn.PRESETS["16khz-linear"].spec


class TestPushingErrors:
    def test_nobody_may_write(self, server, exported):
        server.readers_only = True
        with pytest.raises(HubError, match=r"^hf://me/mine: the Hub answers 401, no right"):
            isn.push_to_hub(exported, "me/mine")

    def test_offline(self, server, exported, monkeypatch):
        _offline(monkeypatch)
        with pytest.raises(HubError, match=r"^hf://me/mine: HF_HUB_OFFLINE is set"):
            isn.push_to_hub(exported, "me/mine")

    def test_no_answer(self, server, exported, monkeypatch):
        _unreachable(monkeypatch)
        with pytest.raises(HubError, match=r"^hf://me/mine: Connect\w+: "):
            isn.push_to_hub(exported, "me/mine")

    def test_what_cannot_be_stored(self, server):
        with pytest.raises(TypeError, match="a LappedBank cannot be stored; this version stores"):
            isn.push_to_hub("16khz-lapped", "me/mine")
        with pytest.raises(ValueError, match="no preset '16khz-liner'; did you mean"):
            isn.push_to_hub("16khz-liner", "me/mine")

    @pytest.mark.parametrize("name", ["mine", "hf://me", "me/mine/model"])
    def test_names_of_no_repository(self, name, exported):
        with pytest.raises(ValueError, match="write hf://owner/name"):
            isn.push_to_hub(exported, name)

    def test_cards_that_are_not_json(self, server, exported):
        with pytest.raises(TypeError, match="convert it to numbers and text"):
            isn.push_to_hub(exported, "me/mine", card={"rate": {1, 2}})
        assert server.log == []


@pytest.mark.tail
def test_the_variables_of_the_client_are_obeyed(shared, tmp_path):
    """In processes of their own: HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE."""
    home = tmp_path / "home"
    code = "import isincnet_jax as isn; print(isn.from_pretrained('hf://me/mine').name)"

    def load(**variables):
        environment = {**os.environ, "HF_ENDPOINT": shared.url, **variables}
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (
        "HubError: hf://me/mine: not in the cache"
        in load(HF_HOME=str(home), HF_HUB_OFFLINE="1").stderr
    )
    first = load(HF_HOME=str(home))
    commit = shared.branches["me/mine"]["main"]
    assert first.stdout == f"hf://me/mine@{commit}\n"
    asked = len(shared.log)
    snapshot = home / "hub" / "models--me--mine" / "snapshots" / commit
    assert sorted(path.name for path in snapshot.iterdir()) == [members.CONFIG, members.WEIGHTS]
    assert load(HF_HOME=str(home), HF_HUB_OFFLINE="1").stdout == first.stdout
    assert len(shared.log) == asked
