"""One list of things to do, and any number of processes and machines that do them."""
