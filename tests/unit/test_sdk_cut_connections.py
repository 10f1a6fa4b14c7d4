"""A connection that is cut at once says the likely cause by its scheme."""

import httpx

from sie_sdk.wire.transport import reason_of

CUT = httpx.RemoteProtocolError("Server disconnected without sending a response.")


def test_a_cut_under_tls_names_the_certificate_that_was_shown():
    assert "SIE_CLIENT_CERT_FILE" in reason_of(CUT, "https://127.0.0.1:1")
    assert "https://" in reason_of(CUT, "http://127.0.0.1:1")
    assert reason_of(CUT, "https://127.0.0.1:1", was_reached=True) == str(CUT)
