# Installs isincnet_jax where it is missing: from REPOSITORY, else from the clone that this notebook
# stands in, else from PyPI. JAX and what fits to it stay as they are.
import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

REPOSITORY = ""  # what `git clone` takes, such as "https://github.com/OWNER/NAME"

if importlib.util.find_spec("isincnet_jax") is None:
    package, clone = "isincnet-jax[notebooks]", pathlib.Path("..").resolve()
    if REPOSITORY:
        package += f" @ git+{REPOSITORY.removeprefix('git+')}"
    elif (clone / "pyproject.toml").is_file() and (clone / "isincnet_jax").is_dir():
        package = f"{clone}[notebooks]"
    else:
        print("REPOSITORY is empty, and this notebook stands in no clone: trying PyPI")
    names = ("flax", "jax", "ml", "numpy", "nvidia", "orbax", "tensorflow")
    found = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    pins = [f"{name}=={found[name]}\n" for name in found if str(name).lower().startswith(names)]
    pinned = pathlib.Path(tempfile.mkdtemp(), "installed.txt")
    pinned.write_text("".join(pins))
    command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(pinned), package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        hint = "" if REPOSITORY else "Write the repository's address into REPOSITORY of this cell."
        raise RuntimeError(f"pip could not install {package}:\n{done.stderr}\n{hint}")
    importlib.invalidate_caches()

import jax

device = jax.devices()[0]
print(f"JAX {jax.__version__} runs on {device.platform.upper()}, {device.device_kind}")
has_gpu = pathlib.Path("/dev/nvidia0").exists() or subprocess.getstatusoutput("nvidia-smi")[0] == 0
if has_gpu and device.platform == "cpu":
    print("!" * 40, "THERE IS A GPU, BUT JAX RUNS ON THE CPU", "!" * 40)
    print("Its CUDA plugin is missing, or of another version. Start a new runtime, or:")
    print(f"pip install 'jax[cuda12]=={jax.__version__}'")
