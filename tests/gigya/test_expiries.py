from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gigya import expiries
from service.gigya.expiries import UnreadableExpiry
from service.secret import Secret

NOW = 1_700_000_000.5
SUMMER = datetime(2009, 6, 21, 17, 0, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(
    min_value=datetime(2001, 9, 10),  # noqa: DTZ001  # hypothesis adds the zone
    max_value=datetime(2999, 12, 31),  # noqa: DTZ001  # likewise
    timezones=st.just(UTC),
)


class TestParseExpiry:
    @pytest.mark.parametrize("text", ["", "0"])
    @pytest.mark.parametrize("relative", [False, True])
    def test_nothing_and_zero_are_not_known(self, text: str, relative: bool) -> None:  # noqa: FBT001  # both ways
        """Empty or 0: no expiry is known."""
        assert expiries.parse_expiry(text, relative=relative, now=NOW) is None

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2009-06-21 17:00:00", SUMMER),
            ("2009-06-21T17:00:00", SUMMER),
            ("2009-06-21T17:00:00Z", SUMMER),
            ("2009-06-21 17:00:00Z", SUMMER),
            ("2009-06-21 17:00:00 UTC", SUMMER),
            ("2009-06-21 17:00:00 GMT", SUMMER),
            ("2009-06-21T19:00:00+02:00", SUMMER),
            ("2009-06-21T19:00:00+0200", SUMMER),
            ("2009-06-21 19:00:00 +02:00", SUMMER),
            ("2009-06-21T11:30:00-05:30", SUMMER),
            ("2009-06-22T07:00:00+14:00", SUMMER),
            ("2009-06-21T17:00:00+00:00", SUMMER),
            ("2009-06-21T17:00:00-00:00", SUMMER),
            ("2009-06-21T17:00:00.2Z", SUMMER.replace(microsecond=200_000)),
            ("2009-06-21T17:00:00.25Z", SUMMER.replace(microsecond=250_000)),
            ("2009-06-21T17:00:00.257Z", SUMMER.replace(microsecond=257_000)),
            ("2009-06-21T17:00:00.123456Z", SUMMER.replace(microsecond=123_456)),
            ("2009-06-21T17:00:00.1234567Z", SUMMER.replace(microsecond=123_456)),
            ("2009-06-21T17:00:00.9999999Z", SUMMER.replace(microsecond=999_999)),
            ("2009-06-21T17:00:00.0000001", SUMMER),
            ("2009-06-21 17:00:00.500", SUMMER.replace(microsecond=500_000)),
            ("2012-02-29 00:00:00", datetime(2012, 2, 29, tzinfo=UTC)),
            ("9999-12-31T23:59:59.9999999Z", datetime.max.replace(tzinfo=UTC)),
        ],
    )
    def test_reads_date_times(self, text: str, moment: datetime) -> None:
        """With or without a zone and a fraction; what has no zone is UTC, ticks are cut off."""
        assert moment == expiries.parse_expiry(text, now=NOW)

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2009-06-21 19:00:00", SUMMER),
            ("2009-01-21 18:00:00", datetime(2009, 1, 21, 17, tzinfo=UTC)),
            ("2009-10-25 02:30:00", datetime(2009, 10, 25, 0, 30, tzinfo=UTC)),
            ("2009-06-21 17:00:00Z", SUMMER),
            ("2009-06-21 12:00:00-05:00", SUMMER),
        ],
        ids=["summer", "winter", "twice: the sooner", "says UTC", "says another"],
    )
    def test_a_site_has_a_zone_for_times_without_one(self, text: str, moment: datetime) -> None:
        """The configured zone counts where the value has none, and only there."""
        assert moment == expiries.parse_expiry(text, zone=BERLIN, now=NOW)

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("1000000000", datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
            ("1245603600", SUMMER),
            ("1245603600000", SUMMER),
            ("1245603600257", SUMMER.replace(microsecond=257_000)),
            ("1000000000000", datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
            ("99999999999", datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
            ("99999999999999", datetime(5138, 11, 16, 9, 46, 39, 999_000, tzinfo=UTC)),
        ],
    )
    @pytest.mark.parametrize("relative", [False, True])
    def test_reads_epochs(self, text: str, moment: datetime, relative: bool) -> None:  # noqa: FBT001  # both ways
        """UNIX seconds or milliseconds, by their size; also where values may be relative."""
        assert moment == expiries.parse_expiry(text, relative=relative, zone=BERLIN, now=NOW)

    @pytest.mark.parametrize("seconds", [1, 3600, 5_184_000, 999_999_999])
    def test_reads_seconds_left_where_the_site_says_so(self, seconds: int) -> None:
        """Digits below 10^9 count from now."""
        moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
        assert moment == expiries.parse_expiry(str(seconds), relative=True, now=NOW)

    @pytest.mark.parametrize("text", ["1", "3600", "5184000", "999999999", "00"])
    def test_refuses_small_numbers_otherwise(self, text: str) -> None:
        """As a moment they would be decades ago, as seconds left the site did not say so."""
        with pytest.raises(UnreadableExpiry):
            expiries.parse_expiry(text, now=NOW)

    @pytest.mark.parametrize(
        "text",
        [
            " ",
            "never",
            "-1",
            "+1700000000",
            "1700000000.5",
            "1.7e9",
            " 1700000000",
            "1700000000\n",
            "1_700_000_000",
            "\u0661" * 10,
            "999999999999999",
            "9" * 5000,
            "2009-06-21",
            "2009-06-21 17:00",
            "2009-6-21 17:00:00",
            "2009-06-31 17:00:00",
            "2009-02-29 17:00:00",
            "2009-13-01 17:00:00",
            "2009-06-21 25:00:00",
            "2009-06-21 17:60:00",
            "2009-06-21 17:00:60",
            "2009-06-21  17:00:00",
            "2009-06-21t17:00:00z",
            "2009-06-21T17:00:00,5Z",
            "2009-06-21T17:00:00.Z",
            "2009-06-21T17:00:00 CET",
            "2009-06-21T17:00:00+15:00",
            "2009-06-21T17:00:00+02:60",
            "2009-06-21T17:00:00+2",
            "2009-06-21T17:00:00Z ",
            "20090621T170000Z",
            "2009-W25-7T17:00:00Z",
            "06/21/2009 17:00:00",
            "Sun, 21 Jun 2009 17:00:00 GMT",
            "/Date(1245603600000)/",
            "0001-01-01T00:00:00",
            "0001-01-01T00:00:00+02:00",
            "0000-00-00 00:00:00",
            "1970-01-01 00:00:00",
            "1999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "\uff12009-06-21 17:00:00",
        ],
    )
    @pytest.mark.parametrize("relative", [False, True])
    def test_refuses_the_rest(self, text: str, relative: bool) -> None:  # noqa: FBT001  # both ways
        """No guessing; the error holds nothing of the value."""
        with pytest.raises(UnreadableExpiry) as caught:
            expiries.parse_expiry(text, relative=relative, now=NOW)
        error = caught.value
        assert ("an expiry in a form that is not known", None, None) == (
            str(error),
            error.__cause__,
            error.__context__,
        )

    def test_a_year_out_of_reach_is_refused_in_any_zone(self) -> None:
        """The last and first moments have no neighbours to be converted to."""
        for text in ("9999-12-31 23:59:59", "0001-01-01 00:00:00"):
            for hours in (-12, 12):
                zone = timezone(timedelta(hours=hours))
                try:
                    moment = expiries.parse_expiry(text, zone=zone, now=NOW)
                except UnreadableExpiry:
                    continue
                assert (12, 9999) == (hours, moment and moment.year)

    @given(moment=MOMENTS)
    def test_reads_what_was_written(self, moment: datetime) -> None:
        """Each form of one moment is that moment, as finely as the form tells."""
        whole = moment.replace(microsecond=0)
        millis = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        seconds = int(whole.timestamp())
        forms = {
            str(seconds): whole,
            str(seconds * 1000 + moment.microsecond // 1000): millis,
            whole.strftime("%Y-%m-%d %H:%M:%S"): whole,
            moment.isoformat(): moment,
            moment.isoformat().replace("+00:00", "Z"): moment,
            millis.isoformat(timespec="milliseconds"): millis,
            f"{whole:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}9Z": moment,
        }
        assert forms == {text: expiries.parse_expiry(text, now=NOW) for text in forms}

    @given(moment=MOMENTS, minutes=st.integers(min_value=-840, max_value=840))
    def test_an_offset_does_not_move_the_moment(self, moment: datetime, minutes: int) -> None:
        """Written at any offset, it is the same moment."""
        local = moment.astimezone(timezone(timedelta(minutes=minutes)))
        assert moment == expiries.parse_expiry(local.isoformat(), zone=BERLIN, now=NOW)

    @given(moment=MOMENTS)
    def test_a_zone_is_undone(self, moment: datetime) -> None:
        """Written as the clock on a Berlin wall shows it, it is that moment, or the sooner one."""
        wall = moment.astimezone(BERLIN)
        parsed = expiries.parse_expiry(f"{wall:%Y-%m-%d %H:%M:%S.%f}", zone=BERLIN, now=NOW)
        assert parsed in {moment, moment - timedelta(hours=1)}

    @given(text=st.text("0123456789-:.+TZ UC\u0661", max_size=40))
    def test_any_text_is_a_moment_or_nothing_or_refused(self, text: str) -> None:
        """No input raises anything else."""
        try:
            moment = expiries.parse_expiry(text, now=NOW)
        except UnreadableExpiry:
            return
        assert moment is None or (moment.utcoffset() == timedelta(0) and moment.year >= 2000)


class TestExpiryIn:
    @pytest.mark.parametrize(
        ("fields", "moment"),
        [
            ({}, None),
            ({"sessionExpiration": "1245603600"}, None),
            ({"tokenExpiration": "1245603600"}, SUMMER),
            ({"tokenExpirationUTC": "1245603600"}, SUMMER),
            ({"tokenExpiration": "2009-06-21 19:00:00"}, SUMMER),
            ({"tokenExpirationUTC": "2009-06-21 17:00:00"}, SUMMER),
            (
                {"tokenExpirationUTC": "2009-06-21 17:00:00", "tokenExpiration": "1300000000"},
                SUMMER,
            ),
            ({"tokenExpirationUTC": "0", "tokenExpiration": "1245603600"}, SUMMER),
            ({"tokenExpirationUTC": "0", "tokenExpiration": "0"}, None),
        ],
        ids=[
            "absent",
            "another's",
            "older name",
            "today's name",
            "site's zone",
            "UTC by name",
            "both: today's",
            "today's says nothing",
            "neither says anything",
        ],
    )
    def test_reads_either_name(self, fields: dict[str, str], moment: datetime | None) -> None:
        """Today's name says UTC, whatever the site's zone; the older one has the site's zone."""
        secrets = {name: Secret(value) for name, value in fields.items()}
        assert moment == expiries.expiry_in(secrets, "tokenExpiration", zone=BERLIN, now=NOW)

    def test_refuses_what_cannot_be_read(self) -> None:
        """A present value that is no expiry is not passed over."""
        fields = {"tokenExpirationUTC": Secret("soon"), "tokenExpiration": Secret("1245603600")}
        with pytest.raises(UnreadableExpiry):
            expiries.expiry_in(fields, "tokenExpiration", now=NOW)

    def test_passes_relative_values_on(self) -> None:
        """A site's relative values are read as such under either name."""
        moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=60)
        fields = {"sessionExpiration": Secret("60")}
        assert moment == expiries.expiry_in(fields, "sessionExpiration", relative=True, now=NOW)
