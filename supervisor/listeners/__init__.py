"""Where clients come from: stdin and stdout, a unix socket, a websocket port.

Each listener makes a `Connection` of whatever it accepts; from there on all clients are alike.
"""
