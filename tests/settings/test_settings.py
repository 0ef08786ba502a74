import pytest

from service.settings.logs import Logging
from service.settings.reload import needs_restart
from tests.settings.samples import GOOD, loaded, spoiled

SETTINGS = loaded().settings


class TestFingerprint:
    def test_it_is_a_sha256(self) -> None:
        """The configuration's hash is 64 hexadecimal digits, the same each time."""
        assert SETTINGS.fingerprint() == loaded().settings.fingerprint()
        assert 32 == len(bytes.fromhex(SETTINGS.fingerprint()))

    @pytest.mark.parametrize(
        "edit",
        [
            ("naming: documented", "naming: documented # as ever"),
            ("shutdown: {delay: 5, drain: 25}", "shutdown: {drain: 25.0}"),
            ("version: 1\n", "version: 1\nlogging: {format: json, level: debug}\n"),
        ],
        ids=["comment", "default", "order"],
    )
    def test_spelling_does_not_count(self, edit: tuple[str, str]) -> None:
        """Comments, order and spelled-out defaults leave the hash as it is."""
        text = spoiled(edit)
        if text.count("\nlogging:") == 2:
            text = text[: text.rindex("logging:")]
        assert SETTINGS.fingerprint() == loaded(text).settings.fingerprint()

    @pytest.mark.parametrize(
        "edit", [("drain: 25", "drain: 26"), ("fields: [providerUID]", "fields: [authToken]")]
    )
    def test_every_value_counts(self, edit: tuple[str, str]) -> None:
        """Any other value gives another hash, callers included."""
        assert SETTINGS.fingerprint() != loaded(spoiled(edit)).settings.fingerprint()

    def test_contents_do_not_count(self) -> None:
        """What the named files hold is no part of the hash."""
        other = loaded(**{"secrets/token": b"another"}).settings
        assert SETTINGS.fingerprint() == other.fingerprint()


class TestNeedsRestart:
    def test_callers_are_reloaded(self) -> None:
        """A change of callers alone can be taken while running."""
        edits = (("fields: [providerUID]", "fields: [authToken]"), ("rate: 10\n", "rate: 11\n"))
        assert [] == needs_restart(SETTINGS, loaded(spoiled(*edits)).settings)

    def test_the_level_of_the_log_is_reloaded(self) -> None:
        """A change of the log's level can be taken while running; of its form it cannot."""
        quiet, loud, other = (
            SETTINGS.model_copy(update={"logging": row})
            for row in (
                Logging(level="error", format="json"),
                Logging(level="debug", format="json"),
                Logging(level="debug", format="console"),
            )
        )
        assert [] == needs_restart(quiet, loud)
        assert ["logging.format"] == needs_restart(quiet, other)

    def test_everything_else_is_told(self) -> None:
        """Each other change is told with its path, beside those that could be taken."""
        edits = (
            ("rate: 10\n", "rate: 11\n"),
            ("drain: 25", "drain: 26"),
            ("api_key: 4_staging", "api_key: 4_other"),
            ("  staging:\n", "  more:\n    <<<\n  staging:\n"),
            ("[gigya-credential-proxy, other]", "[gigya-credential-proxy]"),
            ("      xing: {names: oauth1}\n", ""),
        )
        more = GOOD[GOOD.index("    api_key: 4_staging") : GOOD.index("authentication:\n  - name")]
        text = spoiled(*edits).replace("    <<<\n", more)
        assert [
            "shutdown.drain",
            "sites.shop.providers.xing",
            "sites.staging.api_key",
            "sites.more",
            "authentication.2.audiences",
        ] == needs_restart(SETTINGS, loaded(text).settings)

    def test_nothing_changed(self) -> None:
        """The same configuration needs nothing."""
        assert [] == needs_restart(SETTINGS, loaded().settings)


class TestFrozen:
    def test_settings_do_not_change(self) -> None:
        """Nothing that was loaded can be changed."""
        with pytest.raises(ValueError, match="frozen"):
            SETTINGS.shutdown.drain = 1  # type: ignore[misc]  # this is the point
