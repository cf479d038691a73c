"""The methods that a thread's worker answers, by area; `registry` lists them."""
