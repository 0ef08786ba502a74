"""What ``simulate`` tells its user: who is seeded, which keys there are, what to type next."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from service.simulator.running import Address
from service.simulator.seeds import Seeded
from service.simulator.world import GET_SESSION_INFO, Connection

ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # read, not bound
JSON: Final = "-H 'content-type: application/json'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """A simulator that is serving, and where its files are."""

    made: Seeded
    keys: Path
    address: Address
    ca_file: Path | None = None
    is_strict: bool = False

    def lines(self) -> Iterator[str]:
        """Return the whole text, line by line."""
        yield "A simulator of Gigya: synthetic users, throwaway keys; nothing here is SAP's."
        for part in (self._users, self._material, self._site, self._examples):
            yield ""
            yield from part()
        yield ""
        yield f"Serving on {self.address.url} until Ctrl-C."

    @property
    def _url(self) -> str:
        host = self.address.host
        return replace(self.address, host=ANY_ADDRESS.get(host, host)).url

    def _users(self) -> Iterator[str]:
        yield f"{'UID':<24} {'provider':<15} token"
        for uid, connections in self.made.site.users.items():
            if not uid.startswith("load-"):
                yield f"{uid:<24} {_connected(connections)}"

    def _material(self) -> Iterator[str]:
        made, keys = self.made, self.keys
        yield f"API key          {made.api_key}"
        yield f"  (old site)     {made.legacy_api_key}  (the partner secret authenticates here)"
        yield f"  (elsewhere)    {made.elsewhere_api_key}  (301001: another data center)"
        yield f"Partner secret   {made.partner_secret}  in {keys / 'partner-secret'}"
        yield f"User key         {made.user_key}"
        yield f"  its secret     {made.user_secret}  in {keys / 'user-secret'}"
        yield f"  its RSA key    {keys / 'user-key.pem'}"
        yield self._transport()

    def _transport(self) -> str:
        if self.ca_file:
            return f"CA certificate   {self.ca_file}"
        if self.is_strict:
            return "Plain HTTP       secrets are refused (403006): use --tls-dir, or sign"
        return "Plain HTTP       from this machine counts as TLS (--strict-http: it does not)"

    def _site(self) -> Iterator[str]:
        ca_file = f", ca_file: {self.ca_file}" if self.ca_file else ""
        user_key, key_file = self.made.user_key, self.keys / "user-key.pem"
        yield "The proxy's configuration of this site:"
        yield "  sites:"
        yield "    simulated:"
        yield f"      api_key: {self.made.api_key}"
        yield f"      simulator: {{url: {self._url}{ca_file}}}"
        yield f"      partner_secret_files: [{self.keys / 'partner-secret'}]"
        yield "      authentication:"
        yield f"        current: {{method: bearer, user_key: {user_key}, key_file: {key_file}}}"

    def _examples(self) -> Iterator[str]:
        curl = f"curl -s --cacert {_quoted(self.ca_file)}" if self.ca_file else "curl -s"
        knobs = f"{self._url}/_simulator/knobs"
        yield "Ask it:"
        yield f"  {curl} {self._url}/{GET_SESSION_INFO} {self._form()}"
        yield "Make the next two calls fail, see the knobs, take them back (this machine only):"
        yield f'  {curl} {knobs} {JSON} -d \'{{"error_code": 500001, "times": 2}}\''
        yield f"  {curl} {knobs}"
        yield f"  {curl} -X DELETE {knobs}"

    def _form(self) -> str:
        return (
            f"-d apiKey={self.made.api_key} -d userKey={self.made.user_key} "
            f"--data-urlencode secret@{_quoted(self.keys / 'user-secret')} "
            "-d UID=user-twitter -d provider=twitter"
        )


def _connected(connections: Mapping[str, Connection]) -> str:
    if len(connections) == 1:
        ((provider, connection),) = connections.items()
        return f"{provider:<15} {connection.auth_token}"
    if not connections:
        return f"{'none':<15} (400106)"
    expired = all(each.is_expired for each in connections.values())
    return f"{'every one':<15} (403009)" if expired else "every one"


def _quoted(path: Path | None) -> str:
    return shlex.quote(str(path))
