"""Phase retrieval: Griffin-Lim, heap integration, sweeps, propagation, mel inversion."""
