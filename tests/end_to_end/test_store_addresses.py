"""Which store a command uses, and that no password of its address is ever shown."""

import logging

import pytest

from dacapo_hd.cli.entry import _warnings_on_stderr


def test_a_folder_for_the_weights_in_the_environment_is_for_other_stores_than_folders(
    here, trained_folder, dacapo_hd, monkeypatch
):
    monkeypatch.setenv("DACAPO_HD_WEIGHTS", str(here / "weights"))
    assert dacapo_hd("runs", "--store", trained_folder)[0] == 0
    assert dacapo_hd("store", "copy", trained_folder, "kept")[0] == 0
    code, _, err = dacapo_hd("runs", "--store", trained_folder, "--weights", "weights")
    assert (code, err) == (
        1,
        f"error: --weights is for stores in MongoDB; the weights of {trained_folder} lie in that folder\n",
    )


def test_a_store_in_mongodb_is_named_by_the_environment(mongodb, here, trained_folder, dacapo_hd, monkeypatch):
    monkeypatch.setenv("DACAPO_HD_STORE", mongodb)
    monkeypatch.setenv("DACAPO_HD_WEIGHTS", "weights of the environment")
    assert dacapo_hd("store", "copy", trained_folder, mongodb)[0] == 0
    assert dacapo_hd("store", "check")[0] == 0
    assert (here / "weights of the environment" / "tiny" / "00000006.pt").is_file()


READING = (
    ["runs"],
    ["runs", "rm", "tiny", "--yes"],
    ["runs", "prune"],
    ["compare"],
    ["validate", "tiny"],
    ["train", "tiny"],
    ["check", "tiny"],
    ["preview", "tiny", "out.png"],
    ["apply", "tiny", "in.zarr", "out.zarr"],
    ["store", "check"],
)


@pytest.mark.parametrize("arguments", READING)
def test_a_folder_that_does_not_exist_is_an_error_for_all_that_only_reads(arguments, here, dacapo_hd):
    code, out, err = dacapo_hd(*arguments, "--store", "nowhere")
    message = "error: --store: there is no folder nowhere; give another one, or train a run, which makes it\n"
    assert (code, out, err) == (1, "", message)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("arguments", READING)
def test_a_file_in_the_place_of_a_store_is_an_error(arguments, here, dacapo_hd):
    (here / "taken").write_text("a file")
    code, out, err = dacapo_hd(*arguments, "--store", "taken")
    assert (code, out, err) == (1, "", "error: --store: taken is a file; give a folder or mongodb://HOST/DATABASE\n")


@pytest.mark.parametrize("arguments", [*READING, ["train", "run.yaml"]])
def test_an_empty_address_is_not_the_working_directory(arguments, here, write, config, dacapo_hd):
    """As from `--store "$UNSET"`."""
    write(config)
    code, out, err = dacapo_hd(*arguments, "--store", "")
    assert (code, out, err) == (
        1,
        "",
        "error: --store: the address is empty; give a folder or mongodb://HOST/DATABASE\n",
    )
    assert [path.name for path in here.iterdir()] == ["run.yaml"]


def test_a_folder_without_runs_is_none(here, dacapo_hd):
    (here / "runs").mkdir()
    assert dacapo_hd("runs") == (0, "runs has no runs; train one with `dacapo-hd train FILE`\n", "")
    assert dacapo_hd("runs", "prune") == (0, "nothing to remove\n", "")
    assert dacapo_hd("store", "check")[::2] == (0, "")


def test_copying_from_what_is_not_there_says_which_of_the_two_it_is(here, dacapo_hd):
    (here / "taken").write_text("a file")
    (here / "empty").mkdir()
    for arguments, message in {
        ("nowhere", "to"): "FROM: there is no folder nowhere; give another one",
        ("empty", "taken"): "TO: taken is a file; give a folder or mongodb://HOST/DATABASE",
        ("empty", "to"): "empty has no runs to copy",
    }.items():
        assert dacapo_hd("store", "copy", *arguments) == (1, "", f"error: {message}\n")
    assert not (here / "to").exists()


class TestCredentials:
    """The server knows no users, so every one of these is refused, in words without the password."""

    @pytest.fixture
    def secret(self, mongodb):
        """An address with a user and a password."""
        return mongodb.replace("mongodb://", "mongodb://anna:geh%21eim@") + "?authSource=admin"

    @pytest.mark.parametrize("debug", [[], ["--debug"]])
    @pytest.mark.parametrize("arguments", READING)
    def test_no_command_shows_them(self, arguments, debug, secret, mongodb, dacapo_hd):
        code, out, err = dacapo_hd(*arguments, "--store", secret, *debug)
        assert code == 1 and out == ""
        assert "anna" not in err and "geh" not in err
        assert err.splitlines()[-1].startswith(f"error: {mongodb}: the server knows no such user and password; ")
        assert bool(debug) == ("Traceback" in err)

    @pytest.mark.parametrize("debug", [[], ["--debug"]])
    def test_copying_does_not_show_them(self, secret, debug, trained_folder, dacapo_hd):
        for pair in ((secret, "to"), (trained_folder, secret)):
            code, out, err = dacapo_hd("store", "copy", *pair, *debug)
            assert code == 1 and out == "" and "anna" not in err and "geh" not in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["ADDRESS"],
            ["runs", "ADDRESS"],
            ["train", "ADDRESS"],
            ["validate", "tiny", "--iteration", "ADDRESS"],
            ["runs", "prune", "ADDRESS", "--store", "STORE"],
            ["runs", "rm", "ADDRESS", "--store", "STORE"],
            ["store", "copy", "ADDRESS"],
            ["runs", "--stor", "ADDRESS"],
            ["runs", "--store=ADDRESS", "--nonsense"],
            ["apply", "tiny", "ADDRESS", "out.zarr", "--store", "STORE"],
            ["train", "run.yaml", "--set", "ADDRESS"],
            ["runs", "--weights", "ADDRESS", "--store", "STORE"],
        ],
    )
    def test_a_mistake_with_an_address_does_not_show_them(self, arguments, secret, trained_folder, dacapo_hd):
        places = {"ADDRESS": secret, "STORE": str(trained_folder)}
        given = [places.get(argument, argument.replace("ADDRESS", secret)) for argument in arguments]
        code, out, err = dacapo_hd(*given)
        assert code != 0 and "anna" not in out + err and "geh" not in out + err

    def test_warnings_do_not_show_them(self, capsys):
        with _warnings_on_stderr():
            logging.getLogger("dacapo_hd.stores.mongo").warning("lost %s, trying", "mongodb://anna:geheim@host/em?a=b")
            logging.getLogger("elsewhere").error("mongodb://anna:geheim@host")
        assert capsys.readouterr().err == "warning: lost mongodb://host/em trying\nerror: mongodb://host\n"


def test_warnings_are_printed_once_a_minute(capsys):
    logger = logging.getLogger("dacapo_hd.test")
    with _warnings_on_stderr():
        for _ in range(3):
            logger.warning("the same")
        logger.warning("another")
        logger.info("not for users")
    assert capsys.readouterr().err == "warning: the same\nwarning: another\n"
