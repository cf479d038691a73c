"""The methods of the catalog worker: what is answered from files, without a loaded thread. `registry` lists them."""
