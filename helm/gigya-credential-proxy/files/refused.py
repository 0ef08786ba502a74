"""Ask for a token without a credential: exits 0 if that is refused with 401, else 1.

``refused.py URL [CA_FILE]``. Where the file is not there, certifi's authorities are believed, as
the service itself does.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path


def authorities(ca_files: list[str]) -> str:
    """Return the file of whom to believe."""
    if there := [each for each in ca_files if Path(each).exists()]:
        return there[0]
    import certifi  # noqa: PLC0415  # not needed over plain HTTP

    for each in ca_files:
        print(f"{each} is not there: certifi's authorities are believed")
    return certifi.where()


url, *ca_files = sys.argv[1:]
is_tls = url.startswith("https:")
context = ssl.create_default_context(cafile=authorities(ca_files)) if is_tls else None
body = json.dumps({"uid": "nobody", "provider": "facebook"}).encode()
request = urllib.request.Request(
    url + "/v1/provider-tokens", data=body, headers={"Content-Type": "application/json"}
)
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
)
try:
    with opener.open(request, timeout=10) as answer:
        status, code = answer.status, "released"
except urllib.error.HTTPError as error:
    status, code = error.code, json.load(error).get("code")
except urllib.error.URLError as error:
    # With client_ca_file the connection itself is refused: the proxy's alert says so.
    is_asked = isinstance(error.reason, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error)
    status, code = (401, "certificate required") if is_asked else (0, str(error.reason))
except ssl.SSLError as error:
    is_asked = "CERTIFICATE_REQUIRED" in str(error)
    status, code = (401, "certificate required") if is_asked else (0, str(error))
print(f"without a credential: {status} {code}")
sys.exit(status != 401)
