"""The node agent: what runs on a leased machine.

What a machine does by itself lives here: start the work it is told to, watch for the market's
notice, keep checkpoints, report, and stop when nobody extends its fuse. Nothing of the
agent's own rooms may be imported but the bus's messages and topics; Python 3.9's standard library
and paho-mqtt are all there is on a bare machine.
"""
