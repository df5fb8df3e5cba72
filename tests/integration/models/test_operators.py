"""Operators at once, and S3 whose answers are lost: histories in which an earlier release broke a promise."""

import itertools

import pytest
from support.operators import Operator, no_pauses
from support.words import FILE, describe_word

from lambda_setup.batch.store import ResultBucket
from lambda_setup.deployment.local.application import MODEL_BUCKET, RESULT_BUCKET
from lambda_setup.errors import CommandError
from lambda_setup.models import bucket as buckets
from lambda_setup.models import channels, moves
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.upload import upload

NUMBERS = itertools.count()
LOST = ("lost", "reset", "overdue")


class Team:
    """Two operators of one model."""

    def __init__(self, stack, folder, name):
        self.stack, self.folder, self.name = stack, folder, name
        self.ada, self.bob = (Operator(stack.s3, who) for who in ("ada", "bob"))

    def bucket(self, who: Operator) -> ModelBucket:
        """Return the model bucket as somebody sees it."""
        return ModelBucket(who.client, MODEL_BUCKET, identify=lambda: who.name)

    def publish(self, who: Operator, word: str, channel: str = "dev") -> str:
        """Begin to publish a word, and return its version."""
        folder = self.folder / word
        manifest = describe_word(folder, self.name, word)
        who.begin(lambda: upload(folder, manifest, who.client, MODEL_BUCKET, channel, by=who.name))
        return manifest.version

    def publish_and_finish(self, word: str, channel: str = "dev") -> str:
        """Publish a word, and return its version."""
        version = self.publish(self.ada, word, channel)
        self.ada.finish()
        return version

    def prune(self, who: Operator, keep: int = 1) -> None:
        """Begin to prune."""
        bucket = self.bucket(who)

        def act():
            return [
                one.version
                for one in bucket.unused_versions(self.name, keep)
                if bucket.delete_unused(self.name, one)
            ]

        who.begin(act)

    def promote(self, who: Operator) -> None:
        """Begin to promote dev's version, which has no smoke request."""
        who.begin(lambda: moves.promote(self.bucket(who), self.name, lambda *_: {"statusCode": 200}))

    def pointer(self, channel: str = "dev") -> channels.Pointer:
        """Return a channel's pointer."""
        return channels.read(self.stack.client, MODEL_BUCKET, self.name, channel)

    def objects(self, version: str) -> set[str]:
        """Return the names of a version's objects."""
        prefix = f"models/{self.name}/versions/{version}/"
        found = self.stack.client.list_objects_v2(Bucket=MODEL_BUCKET, Prefix=prefix)
        return {entry["Key"].removeprefix(prefix) for entry in found.get("Contents", [])}


@pytest.fixture
def team(stack, tmp_path):
    """Yield two operators of a model that nobody else has."""
    with no_pauses():
        yield Team(stack, tmp_path, f"team-{next(NUMBERS)}")


WHOLE = {FILE, "manifest.json"}


class TestLostAnswers:
    """A request was done, and its answer never came."""

    @pytest.mark.parametrize("fault", LOST)
    def test_a_move_whose_answer_is_lost_is_made(self, team, fault):
        """The command meets its own move when it repeats the request, and does not take it for another's."""
        first = team.publish_and_finish("one")
        second = team.publish(team.ada, "two")
        team.ada.step_to(f"PUT /{MODEL_BUCKET}/models/{team.name}/channels", fault)
        team.ada.finish()
        assert [step["to"] for step in team.pointer().history] == [first, second]

    def test_a_move_is_made_though_another_one_followed(self, team):
        """The history still has it when the request is repeated."""
        team.publish_and_finish("one")
        second = team.publish(team.ada, "two")
        team.ada.step_to("/channels/dev.json", "none")  # reads it
        team.ada.step_to("/channels/dev.json", "lost")
        third = team.publish(team.bob, "three")
        team.bob.finish()
        team.ada.finish()
        assert [step["to"] for step in team.pointer().history[1:]] == [second, third]

    @pytest.mark.parametrize("fault", LOST)
    def test_a_rollback_whose_answers_are_all_lost_is_told_as_made(self, team, fault):
        """Otherwise its operator would run it again, and be back where they were."""
        first = team.publish_and_finish("one")
        team.publish_and_finish("two")
        team.ada.begin(lambda: moves.rollback(team.bucket(team.ada), team.name, "dev"))
        team.ada.step_to("PUT", fault)
        while team.ada.waiting and team.ada.waiting.startswith("PUT"):
            team.ada.step(fault)
        assert team.ada.finish()["moved"]
        assert team.pointer().version == first

    @pytest.mark.parametrize("fault", ["503", "unreachable", "denied"])
    def test_a_move_that_cannot_be_looked_up_may_have_been_made(self, team, fault):
        """A repeated request meets its own move, and does not take it for another operator's."""
        team.publish_and_finish("one")
        second = team.publish(team.ada, "two")
        team.ada.step_to(f"PUT /{MODEL_BUCKET}/models/{team.name}/channels", "reset")
        while team.ada.waiting.startswith("PUT"):
            team.ada.step("none")
        while team.ada.waiting:
            team.ada.step(fault)
        with pytest.raises(CommandError, match=f"dev of {team.name} may have moved: .*model show "):
            team.ada.finish()
        assert team.pointer().version == second

    def test_another_operators_move_is_still_told(self, team):
        """Of two who move a channel at once, one is told that the other was first."""
        team.publish_and_finish("one")
        team.publish(team.ada, "two")
        team.ada.wait_at(
            "PUT /models/" if MODEL_BUCKET == "" else f"PUT /{MODEL_BUCKET}/models/{team.name}/ch"
        )
        third = team.publish(team.bob, "three")
        team.bob.finish()
        with pytest.raises(team.ada.client.exceptions.ClientError, match="PreconditionFailed"):
            team.ada.finish()
        assert team.pointer().version == third

    @pytest.mark.parametrize("fault", LOST)
    def test_a_record_whose_answer_is_lost_is_ones_own(self, team, fault):
        """``batch run`` took its own record for somebody else's."""
        results, key = ResultBucket(team.ada.client, RESULT_BUCKET), f"inputs/batches/{team.name}.json"
        team.ada.begin(lambda: results.create(key, b"mine"))
        team.ada.step(fault)
        assert team.ada.finish()
        assert not ResultBucket(team.stack.client, RESULT_BUCKET).create(key, b"another's")


class TestPrune:
    """Somebody prunes while somebody else publishes or promotes."""

    def test_an_upload_on_its_way_stays(self, team, monkeypatch):
        """A version without a manifest is pruned once nobody can be uploading it any more."""
        team.publish_and_finish("one")
        version = team.publish(team.ada, "two")
        team.ada.wait_at(f"{version}/manifest.json")
        assert team.objects(version) == {FILE}
        team.prune(team.bob)
        assert team.bob.finish() == []
        monkeypatch.setattr(buckets, "UPLOAD_SECONDS", -1)
        team.prune(team.bob)
        assert team.bob.finish() == [version]
        team.ada.finish()
        assert team.objects(version) == WHOLE
        assert team.pointer().version == version

    def test_what_a_channel_has_just_moved_to_stays(self, team):
        """The channels are read again before each version goes."""
        old = team.publish_and_finish("one")
        for word in ("two", "three"):
            team.publish_and_finish(word)
        team.prune(team.bob)
        while not team.bob.waiting.endswith(f"{old}/manifest.json"):
            team.bob.step()
        team.bob.wait_at("/channels/")
        assert team.publish_and_finish("one") == old
        assert team.bob.finish() == []
        assert team.objects(old) == WHOLE

    def test_what_is_removed_at_the_same_moment_is_uploaded_again(self, team):
        """Whoever publishes it looks once more after the move."""
        old = team.publish_and_finish("one")
        for word in ("two", "three"):
            team.publish_and_finish(word)
        team.prune(team.bob)
        team.bob.wait_at("DELETE")
        assert team.publish(team.ada, "one") == old
        team.ada.step_to(f"PUT /{MODEL_BUCKET}/models/{team.name}/channels")
        assert team.bob.finish() == [old]
        assert team.objects(old) == set()
        team.ada.finish()
        assert team.objects(old) == WHOLE
        assert team.pointer().version == old

    def test_a_promotion_to_what_is_removed_at_the_same_moment_says_so(self, team):
        """Nothing else could be done: whoever promotes has not got the model."""
        version = team.publish_and_finish("one")
        team.promote(team.bob)
        team.bob.wait_at("PUT")
        for word in ("two", "three"):
            team.publish_and_finish(word)
        team.prune(team.ada)
        assert team.ada.finish() == [version]
        with pytest.raises(CommandError, match="has removed that version; roll back, or publish it"):
            team.bob.finish()


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"version": []}', b'{"version": "1", "history": [1]}'])
def test_a_damaged_pointer_is_written_anew(team, damage):
    """``publish`` does what every command that meets such a pointer says that it does."""
    team.publish_and_finish("one")
    key = channels.key(team.name, "dev")
    team.stack.client.put_object(Bucket=MODEL_BUCKET, Key=key, Body=damage)
    with pytest.raises(CommandError, match="publish again, which writes it anew"):
        team.pointer()
    version = team.publish_and_finish("two")
    assert (team.pointer().version, team.pointer().previous) == (version, None)


def test_a_file_that_changes_while_it_is_uploaded_is_no_version(team):
    """The channel stays where it is; the version would be damaged."""
    first = team.publish_and_finish("one")
    version = team.publish(team.ada, "two")
    team.ada.wait_at("HEAD")
    (team.folder / "two" / FILE).write_text("new")
    with pytest.raises(CommandError, match="has changed since its checksum was taken"):
        team.ada.finish()
    assert "manifest.json" not in team.objects(version)
    assert team.pointer().version == first
