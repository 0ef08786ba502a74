"""Ask for a token without a credential: exits 0 if that is refused with 401, else 1."""

import json
import ssl
import sys
import urllib.error
import urllib.request

url, *ca_file = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file[0] if ca_file else None)
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
