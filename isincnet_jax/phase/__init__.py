"""Phase retrieval: Griffin-Lim, heap integration, propagation, mel inversion."""
