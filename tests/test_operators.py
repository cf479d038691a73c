from __future__ import annotations


def test_smoke(server, model):
    s = server()
    t = s.start_thread()
    turn = s.turn(t, "!stream 50")
    print(s.row(t), s.operate("ps"))
    assert s.end_of(turn[-1]["params"]["turn"]["id"])["status"] == "completed"
