"""A warm function follows its channel: between requests, never within one, however often it moves."""

import threading
from contextlib import contextmanager

import pytest
from support import swapping
from support.events import case
from support.proxy import Gate, refused, shortened
from support.second_model import EVENT, metrics
from support.swapping import MANY, memory

from lambda_setup.viewer.result import read_records


@pytest.fixture
def function(versions, proxy):
    """Yield a warm function behind the proxy, with the first version."""
    with versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint) as running:
        assert versions.served(running.invoke(EVENT)) == versions.first
        yield running


@contextmanager
def held(proxy, function, event, on):
    """Send an event, and hold what it asks of S3 back during the block; the answer is there after it."""
    gate, answers = Gate(), []
    with proxy.failing(gate, on=on):
        asking = threading.Thread(target=lambda: answers.append(function.invoke(event)))
        asking.start()
        assert gate.reached.wait(60)
        yield answers
        gate.opened.set()
        asking.join()


@pytest.mark.check
@pytest.mark.parametrize(("swap", "swaps"), [("beside", 30), ("instead", 10)])
def test_many_swaps(versions, swap, swaps):
    """Frozen at any moment, while its channel moves at any moment, a function always answers rightly."""
    swapping.assert_right(versions, swap, swaps)


class TestOneVersion:
    """A request is one version's from beginning to end."""

    def test_moved_before_the_answer(self, versions, proxy, function, tmp_path):
        """A channel that moves while a request is served changes the next one."""
        event = {"data": EVENT["data"], "id": "moved"}
        with held(proxy, function, event, "PUT /results/prediction_outputs/moved/predictions") as answers:
            versions.point(versions.second)
        [answer] = answers
        assert answer["body"]["model"]["version"] == versions.first
        [path] = versions.stack.save(answer, tmp_path)
        response = {"body": answer["body"] | {"predictions": list(read_records(path))}}
        assert versions.served(answer | response) == versions.first
        assert versions.served(function.invoke(EVENT)) == versions.second

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("swap", ["beside", "instead"])
    def test_asked_for(self, versions, swap):
        """A request that names its version gets it, whatever the channel points to."""
        with versions.function(MODEL_SWAP=swap) as function:
            for version in (versions.second, versions.first, versions.second):
                answer = function.invoke(EVENT | {"model_version": version})
                assert versions.served(answer) == version
            assert versions.served(function.invoke(EVENT)) == versions.first
            unknown = function.invoke(EVENT | {"model_version": "0" * 64})
            assert unknown["statusCode"] == 400
            assert unknown["body"]["error"]["field"] == "model_version"

    def test_moved_back_while_it_is_read(self, versions, proxy, function):
        """What the channel pointed to when the request came is served, and then what it points to now."""
        versions.point(versions.second)
        with held(proxy, function, MANY, f"{versions.second}/en-es.pt") as answers:
            versions.point(versions.first)
        assert [versions.served(answer) for answer in answers] == [versions.second]
        assert versions.served(function.invoke(MANY)) == versions.first

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("form", ["inline", "s3", "http"])
    def test_named(self, versions, function, form):
        """Every form of an answer names the version that made it."""
        event = {
            "inline": EVENT,
            "s3": case("valid/minimal").event,
            "http": case("valid/http_v2_no_id").event,
        }[form]
        for version in (versions.second, versions.first):
            versions.point(version)
            assert version in str(function.invoke(event))

    def test_repeated_request(self, versions, function):
        """A request that is sent again gets the result that there is, under the version that made it."""
        event = case("valid/minimal").event | {"id": "before-the-move"}
        before = function.invoke(event)["body"]
        versions.point(versions.second)
        after = function.invoke(event)["body"]
        assert versions.served(function.invoke(EVENT)) == versions.second
        assert (after["model"], after["s3_key"]) == (before["model"], before["s3_key"])


class TestWhen:
    """When a function looks, and when it swaps."""

    def test_warmup(self, versions, proxy, function):
        """A warm-up takes the new version, so that the next request need not."""
        versions.point(versions.second)
        function.invoke({"warmup": True})
        with proxy.closed():
            assert versions.served(function.invoke(EVENT)) == versions.second

    def test_not_yet(self, versions, proxy):
        """Before MODEL_REFRESH_SECONDS are over, no request goes to S3."""
        env = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "MODEL_REFRESH_SECONDS": "3600"}
        with versions.function(**env) as function:
            function.invoke(EVENT)
            versions.point(versions.second)
            del proxy.exchanges[:]
            assert versions.served(function.invoke(EVENT)) == versions.first
        assert proxy.exchanges == []

    def test_slow_once(self, versions, proxy):
        """A storage that was slow once does not keep a larger version out; what cannot be read is refused."""
        size, part = 1_600_000_000, 8_000_000
        large = versions.manifest()
        large["files"][0] |= {"size": size, "part_size": part, "parts": ["0" * 64] * (size // part)}
        with versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint, timeout="60") as function:
            with proxy.failing(gate := Gate(), on="en-es.pt"):
                threading.Timer(2, gate.opened.set).start()  # thirty times as much takes a minute
                function.invoke(EVENT)
            versions.state(large)
            del proxy.exchanges[:]
            with versions.logged() as lines:
                assert versions.served(function.invoke(EVENT)) == versions.first
        assert "ModelRefused" in metrics(lines)
        assert {one.target.rpartition("/")[2] for one in proxy.exchanges} > {"dev.json", "manifest.json"}

    @pytest.mark.check
    def test_slow_start(self, versions, proxy):
        """A storage that was slow once does not keep a function from its next version."""
        gate = Gate()
        env = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "timeout": "30"}
        with versions.function(**env) as function:
            with proxy.failing(gate, on="en-es.pt"):
                threading.Timer(16, gate.opened.set).start()
                function.invoke(EVENT)
            assert versions.served(function.invoke(EVENT)) == versions.first
            versions.point(versions.second)
            assert versions.served(function.invoke(EVENT)) == versions.second


class TestRefused:
    """A version that cannot be taken."""

    def test_not_at_every_look(self, versions, proxy):
        """It is not read again at the next looks; another one is taken at once."""
        env = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "MODEL_REFRESH_SECONDS": "0.2"}
        with versions.function(**env) as function:
            function.invoke(EVENT)
            del proxy.exchanges[:]
            nowhere = "0" * 64
            versions.point(nowhere)
            while sum("channels" in one.target for one in proxy.exchanges) < 5:
                assert versions.served(function.invoke(EVENT)) == versions.first
            assert sum(nowhere in one.target for one in proxy.exchanges) == 1
            versions.point(versions.second)
            while versions.served(function.invoke(EVENT)) == versions.first:
                assert sum("channels" in one.target for one in proxy.exchanges) < 10

    @pytest.mark.check
    def test_memory(self, versions, proxy, function):
        """However often it is tried, nothing stays of it."""
        versions.point(versions.second)
        with proxy.failing(shortened, on="enes.model"):
            for number in range(30):
                assert versions.served(function.invoke(EVENT)) == versions.first
                if number == 9:
                    settled = memory(function, "VmRSS")
        assert memory(function, "VmRSS") < settled * 1.1 + 10


class TestInstead:
    """Where memory holds one model only, the old one goes first, and comes back if it must."""

    @pytest.fixture
    def function(self, versions, proxy):
        """Yield a warm function that has no room for two."""
        with versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint, MODEL_SWAP="instead") as running:
            assert versions.served(running.invoke(EVENT)) == versions.first
            yield running

    def test_refused(self, versions, proxy, function):
        """If the new version cannot be loaded, the old one is read again."""
        versions.point(versions.second)
        with versions.logged() as lines, proxy.failing(shortened, on=f"{versions.second}/en-es.pt"):
            for _ in range(2):
                assert versions.served(function.invoke(EVENT)) == versions.first
        assert "ModelRefused" in metrics(lines)
        assert versions.served(function.invoke(EVENT)) == versions.second

    @pytest.mark.check
    def test_neither(self, versions, proxy, function):
        """If the old one cannot be read either, that is a 503, until it can."""
        versions.point(versions.second)
        with proxy.failing(shortened, on="en-es.pt"):
            response = function.invoke(EVENT)
            assert (response["statusCode"], response["body"]["error"]["code"]) == (503, "Unavailable")
        versions.served(function.invoke(EVENT))
        assert versions.served(function.invoke(EVENT)) == versions.second

    @pytest.mark.check
    def test_old_one_gone(self, versions, proxy, function):
        """If the old one is not there any more, what the channel points to is tried again."""
        versions.point(versions.second)
        with proxy.failing(refused(404, "NoSuchKey"), on=f"{versions.first}/"):
            with proxy.failing(shortened, on="en-es.pt"):
                assert function.invoke(EVENT)["statusCode"] == 503
            for _ in range(2):
                response = function.invoke(EVENT)
            assert versions.served(response) == versions.second
