"""What counts as a mapping's code: the files that it reaches by imports, without what it cannot use in them."""

import re
import tracemalloc
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sluice import mapping_code
from sluice.entities import authored_imports
from sluice.entities.authored_files import is_authored
from sluice.errors import SettingsError
from sluice.mapping_code import MappingCode, code_of
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings

PIPELINE = """
pipeline: small
sources: {hr: {cdc: postgres, dsn: {env: HR_DSN}, tables: [public.person, public.place]}}
"""
ENTITIES = '''"""Golden records."""
from typing import Annotated
from sluice.entities import UNCLAIMED, Entity, Identity

def spelled(text: str) -> str:
    return text.upper()

class Person(Entity):
    """Somebody."""
    number: Annotated[str, Identity(spelled)]
    name: str | None = UNCLAIMED
    height: str | None = UNCLAIMED

class Place(Entity):
    code: Annotated[str, Identity()]
'''
UNITS = '''"""Units."""
FACTORS = {"cm": 100, "m": 1}

def metres(text: str) -> str:
    """Metres."""
    number, unit = text.split()
    return str(rounded(float(number) / FACTORS[unit]))

def rounded(number: float) -> float:
    return round(number, 2)

def miles(number: float) -> float:
    return number / 1.609
'''
MAPPING = '''"""HR."""
from pydantic import BaseModel
from sluice.entities import mapping
from ... import units
from ...entities import Person, Place

TITLES = ("Dr.", "Prof.")

class Part(BaseModel):
    first: str

class Row(BaseModel):
    number: str
    part: "Part"
    height: str

    @property
    def text(self) -> str:
        return self.height.strip()

class PlaceRow(BaseModel):
    code: str

@mapping(source="hr.public.person", version=1)
def person(raw: Row) -> Person:
    """One person."""
    # as HR writes it
    return Person(number=raw.number, name=untitled(raw.part.first), height=units.metres(raw.text))

def untitled(name: str) -> str:
    for title in TITLES:
        name = name.removeprefix(title)
    return name.strip()

@mapping(source="hr.public.place", version=1)
def place(raw: PlaceRow) -> Place:
    return Place(code=raw.code)
'''
FILES = {
    "pipeline.yaml": PIPELINE,
    "entities.py": ENTITIES,
    "units.py": UNITS,
    "sources/hr/mapping.py": MAPPING,
}
PATCHES = "from . import units\n\nunits.rounded = lambda number: round(number, 1)\n"
Load = Callable[..., dict[str, MappingCode]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes the pipeline, edited by (file, old, new), into a folder of its own; the code of its mappings, by name."""
    runs = iter(range(100))

    def loaded(*edits: tuple[str, str, str], **more: str) -> dict[str, MappingCode]:
        folder = tmp_path / str(next(runs))
        texts = FILES | {f"{name}.py": text for name, text in more.items()}
        for file, old, new in edits:
            assert old in texts[file], f"{file} does not contain {old}"
            texts[file] = texts[file].replace(old, new)
        for file, text in texts.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        return {mapping.name: code_of(mapping) for mapping in load_mappings(load_pipeline(folder))}

    return loaded


HR = "sources/hr/mapping.py"
UNITS_IMPORT = "from ... import units\n"
SAME = {
    "a comment": (HR, "# as HR writes it", "# as it is"),
    "a docstring": (HR, '"""One person."""', '"""A person, as HR has it."""'),
    "layout": (HR, 'TITLES = ("Dr.", "Prof.")', 'TITLES = (\n    "Dr.",\n    "Prof.",\n)'),
    "another mapping of the file": (HR, "Place(code=raw.code)", "Place(code=raw.code.lower())"),
    "another mapping's model": (HR, "code: str", "code: str | None"),
    "another entity": ("entities.py", "code: Annotated", "label: str | None = UNCLAIMED\n    code: Annotated"),
    "a field of its entity that others claim": (
        "entities.py",
        "    height:",
        "    nickname: str | None = UNCLAIMED\n    height:",
    ),
    "an import for other code": (HR, UNITS_IMPORT, f"import re\n{UNITS_IMPORT}"),
}
OTHER = {
    "its own text": (HR, "name=untitled(raw.part.first)", "name=raw.part.first"),
    "what it declares": (HR, 'person", version=1)', 'person", version=1, output="other")'),
    "a helper": (HR, "name.strip()", "name"),
    "a constant of a helper": (HR, '"Prof."', '"Prof. "'),
    "a helper in another module": ("units.py", "float(number) /", "float(number) *"),
    "a helper of that helper": ("units.py", "round(number, 2)", "round(number, 3)"),
    "a table of that helper": ("units.py", '"m": 1', '"m": 1, "mm": 1000'),
    "the raw model": (HR, "height: str\n", "height: str | int\n"),
    "a property of the raw model": (HR, "self.height.strip()", "self.height"),
    "a model in quotes inside the raw model": (HR, "first: str", "first: str | None"),
    "the entity": ("entities.py", "name: str | None", "name: str"),
    "how the entity spells its identity": ("entities.py", "text.upper()", "text.lower()"),
    "a table filled later": (HR, "class Part(", 'units.FACTORS["mm"] = 1000\n\nclass Part('),
    "a helper that it does not call": ("units.py", "1.609", "1.6093"),
    "an import that acts": (HR, UNITS_IMPORT, f"{UNITS_IMPORT}from ... import patches\n"),
}


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_what_a_mapping_does_not_use_is_not_its_code(load: Load, edit: tuple[str, str, str]) -> None:
    assert load(patches=PATCHES)["person"].sha256 == load(edit, patches=PATCHES)["person"].sha256


@pytest.mark.parametrize("edit", OTHER.values(), ids=OTHER)
def test_what_a_mapping_uses_is_its_code(load: Load, edit: tuple[str, str, str]) -> None:
    before, after = load(patches=PATCHES), load(edit, patches=PATCHES)
    assert before["person"].sha256 != after["person"].sha256


def test_the_order_of_definitions_is_code(load: Load) -> None:
    titles = 'TITLES = ("Dr.", "Prof.")\n'
    moved = load((HR, titles, ""), (HR, "class PlaceRow", f"{titles}\nclass PlaceRow"))
    assert load()["person"].sha256 != moved["person"].sha256


def test_other_mappings_that_a_mapping_calls_are_its_code(load: Load) -> None:
    use = (HR, "name=untitled(raw.part.first)", "name=place(PlaceRow(code=raw.part.first)).code")
    before = load(use)["person"].sha256
    for edit in ("another mapping of the file", "another mapping's model", "another entity"):
        assert load(use, SAME[edit])["person"].sha256 != before, edit


def test_what_is_imported_under_another_name_is_code(load: Load) -> None:
    use = (HR, "name=untitled(", "name=P(code='x').code + untitled(")
    imported = (HR, "import Person, Place", "import Person, Place, Place as P")
    assert load(use, imported)["person"].sha256 != load(use, imported, SAME["another entity"])["person"].sha256


def test_a_decorator_of_the_author_s_around_another_mapping_is_code(load: Load) -> None:
    loud = "def loud(mapping):\n    TITLES.append(mapping.name)\n    return mapping\n\n"
    edits = (
        (HR, '("Dr.", "Prof.")', f'["Dr.", "Prof."]\n{loud}'),
        (HR, '@mapping(source="hr.public.place"', "@loud\n@mapping(source='hr.public.place'"),
    )
    assert load(*edits)["person"].sha256 != load(*edits, SAME["another mapping of the file"])["person"].sha256


FACTORY = """
from pydantic import BaseModel
from sluice.entities import mapping
from .entities import Person

class Row(BaseModel):
    number: str

def made(prefix: str):
    @mapping(source="hr.public.person", version=1)
    def person(raw: Row) -> Person:
        return Person(number=prefix + raw.number)
    return person
"""


def test_the_file_that_has_a_mapping_made_by_a_function_is_its_code(load: Load) -> None:
    text = "from ...factory import made\nperson = made('A-')\n"
    before = load((HR, MAPPING, text), factory=FACTORY)["person"]
    assert before.sha256 != load((HR, MAPPING, text.replace("A-", "B-")), factory=FACTORY)["person"].sha256


def test_imports_of_a_file_that_is_nested_deeply_are_followed(load: Load) -> None:
    deep = (HR, "name.strip()", "name" + ".strip()" * 400)
    before = load(deep)["person"]
    assert "units.py" in before.files
    assert before.sha256 != load(deep, OTHER["a helper in another module"])["person"].sha256


DOCSTRINGS = {
    "of the module": ("__doc__", (HR, '"""HR."""', '"""HR: A-"""')),
    "of a function": ("person.function.__doc__", SAME["a docstring"]),
    "by inspect": ("inspect.getdoc(person)", SAME["a docstring"]),
}


@pytest.mark.parametrize(("reads", "edit"), DOCSTRINGS.values(), ids=DOCSTRINGS)
def test_docstrings_that_are_read_are_code(load: Load, reads: str, edit: tuple[str, str, str]) -> None:
    use = (HR, "name.strip()", f"name + {reads}")
    assert load(use)["person"].sha256 != load(use, edit)["person"].sha256


REGISTERED_MODELS = """
KINDS = {}

class Kind(BaseModel):
    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs):
        KINDS[cls.__name__] = cls

class One(Kind):
    prefix: str = "A-"

class Filling(BaseModel):
    KINDS["filled"] = "A-"

"""


@pytest.mark.parametrize("edit", ['prefix: str = "A-"', '"filled"] = "A-"'])
def test_a_model_that_registers_itself_is_code(load: Load, edit: str) -> None:
    use = (HR, "class Part(", f"{REGISTERED_MODELS}class Part("), (HR, "name.strip()", "name + str(KINDS)")
    assert load(*use)["person"].sha256 != load(*use, (HR, edit, edit.replace("A-", "B-")))["person"].sha256


WHOLE_ENTITY = {
    "a raw model contains the entity": ((HR, "    part: ", "    known: Person\n    part: "),),
    "the entity is validated as a whole": (
        ("entities.py", "    number:", "    _all = model_validator(mode='before')(lambda values: values)\n    number:"),
        ("entities.py", "from typing", "from pydantic import model_validator\nfrom typing"),
    ),
    "the class of an entity is called": ((HR, "name.strip()", "type(name)(**{}) or name"),),
}


@pytest.mark.parametrize("edits", WHOLE_ENTITY.values(), ids=WHOLE_ENTITY)
def test_a_field_counts_if_code_may_set_it_without_its_name(load: Load, edits: tuple[Any, ...]) -> None:
    added = ("entities.py", "    height:", "    nickname: str | None = UNCLAIMED\n    height:")
    assert load(*edits)["person"].sha256 != load(*edits, added)["person"].sha256


def test_code_in_an_archive_is_refused(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "ours.zip", "w") as archive:
        archive.writestr("packed_names.py", "LENGTH = 9\n")
    monkeypatch.syspath_prepend(str(tmp_path / "ours.zip"))
    with pytest.raises(SettingsError, match=r"packed_names\.py: this code of a mapping cannot be read"):
        load((HR, UNITS_IMPORT, f"{UNITS_IMPORT}import packed_names\n"))


def test_a_claim_through_another_name_of_the_entity_is_noticed(load: Load) -> None:
    more = {"golden": "from .entities import Person as Human\n", "model": "from .golden import Human\n"}
    claim = "Human(number=raw.number, **{raw.height: raw.height})"
    edits = (HR, "Person(number=raw.number, name", "named(raw) or Person(number=raw.number, name")
    named = f"def named(raw):\n    from ...model import Human\n    return {claim}\n\n"
    helper = (HR, "def untitled(", f"{named}def untitled(")
    added = ("entities.py", "    height:", "    nickname: str | None = UNCLAIMED\n    height:")
    before, after = load(edits, helper, **more)["person"], load(edits, helper, added, **more)["person"]
    assert before.sha256 != after.sha256


MAYBE_MORE = {
    "fields behind stars": "Person(number=raw.number, **dict(zip([raw.height], [raw.height])))",
    "the entity handed on": "built(Person, raw)",
    "the entity handed on to a package": "re.sub(raw.number, Person, raw.height)",
    "another name of it": "Human(number=raw.number, **{raw.height: raw.height}) if (Human := Person) else None",
    "a changed copy of it": "Person(number=raw.number).model_copy(update={raw.height: 'x'})",
    "a changed copy, the older way": "Person(number=raw.number).copy(update={raw.height: 'x'})",
    "another way to make it": "Person.model_validate({'number': raw.number, raw.height: 'x'})",
}


@pytest.mark.parametrize("claim", MAYBE_MORE.values(), ids=MAYBE_MORE)
def test_where_a_mapping_may_claim_any_field_the_whole_entity_counts(load: Load, claim: str) -> None:
    old = "Person(number=raw.number, name=untitled(raw.part.first), height=units.metres(raw.text))"
    edit = (HR, old, claim)
    helper = (HR, "def untitled(", "def built(kind, raw):\n    return kind(**raw.__class__.values)\n\ndef untitled(")
    added = ("entities.py", "    height:", "    nickname: str | None = UNCLAIMED\n    height:")
    assert load(edit, helper)["person"].sha256 != load(edit, helper, added)["person"].sha256


EITHER = "try:\n    from ...fast import metres\nexcept ImportError:\n    from ...slow import metres\n"
WAYS = {"fast": "def metres(text):\n    return text\n", "slow": "def metres(text):\n    return text.strip()\n"}


@pytest.mark.parametrize("changed", WAYS)
def test_each_import_that_may_bind_a_name_counts(load: Load, changed: str) -> None:
    use = (HR, UNITS_IMPORT, EITHER), (HR, "units.metres", "metres")
    after = WAYS | {changed: WAYS[changed].replace("return", "return 2 *")}
    assert load(*use, **WAYS)["person"].sha256 != load(*use, **after)["person"].sha256


def test_an_entity_that_may_be_imported_from_two_places_counts_without_fields_of_others(load: Load) -> None:
    imported = "from ...entities import Person, Place\n"
    either = f"try:\n    {imported}except ImportError:\n    from ...spare import Person, Place\n"
    more = {"spare": "class Person:\n    pass\n\nclass Place:\n    pass\n"}
    use = (HR, imported, either)
    added = ("entities.py", "    height:", "    nickname: str | None = UNCLAIMED\n    height:")
    assert load(use, **more)["person"].sha256 == load(use, added, **more)["person"].sha256


CONDITIONS = {
    "else of TYPE_CHECKING": "import typing\nif typing.TYPE_CHECKING:\n    LIMIT = 9\nelse:\n    LIMIT = 1\n",
    "not TYPE_CHECKING": "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    LIMIT = 1\n",
    "more than TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING or True:\n    LIMIT = 1\n",
    "not as a program": "if __name__ != '__main__':\n    LIMIT = 1\n",
    "else of a program": "if __name__ == '__main__':\n    LIMIT = 9\nelse:\n    LIMIT = 1\n",
    "TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    LIMIT = 1\n",
}


def _with_limit(load: Load, condition: str, limit: int) -> str:
    text = condition.replace("LIMIT = 1", f"LIMIT = {limit}")
    use = (HR, "name.strip()", "name.strip()[LIMIT:]"), (HR, UNITS_IMPORT, f"{text}{UNITS_IMPORT}")
    return load(*use)["person"].sha256


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_code_under_a_condition_counts(load: Load, condition: str) -> None:
    assert _with_limit(load, condition, 1) != _with_limit(load, condition, 2)


LOOKED_UP = (HR, "units.metres(raw.text)", "getattr(units, 'met' + 'res')(raw.text)")
REGISTER = """
WAYS = {}

def way(function):
    WAYS[function.__name__] = function
    return function

@way
def loud(text):
    return text.upper()

"""
REGISTERED = (HR, "def untitled(", f"{REGISTER}def untitled(")


def test_everything_in_reach_counts_where_names_are_built_at_run_time(load: Load) -> None:
    before = load(LOOKED_UP)["person"].sha256
    assert before != load(LOOKED_UP, ("units.py", "1.609", "1.6093"))["person"].sha256
    for edit in ("another mapping of the file", "another entity"):
        assert before != load(LOOKED_UP, SAME[edit])["person"].sha256, edit


def test_code_that_registers_itself_on_import_counts_for_every_mapping_that_reaches_it(load: Load) -> None:
    before = load(REGISTERED)["person"].sha256
    assert before != load(REGISTERED, (HR, "t.upper()", "t.lower()"))["person"].sha256


READS = (HR, 'TITLES = ("Dr.", "Prof.")', 'TITLES = open(__file__.replace("mapping.py", "titles.txt")).read().split()')
NAMES_IT = (HR, READS[1], 'TITLES = open("TOP/lists/titles.txt").read().split()')
NAMES_FOLDER = (HR, READS[1], 'from pathlib import Path\nTITLES = [p.read_text() for p in Path("TOP/lists").iterdir()]')


@pytest.mark.parametrize(
    ("edit", "file"),
    [(READS, "sources/hr/titles.txt"), (NAMES_IT, "lists/titles.txt"), (NAMES_FOLDER, "lists/titles.txt")],
    ids=["its own folder", "a file that it names", "a folder that it names"],
)
def test_data_that_a_file_reads_is_code(load: Load, tmp_path: Path, edit: tuple[str, str, str], file: str) -> None:
    hashes = set()
    for run, text in enumerate(("Dr.", "Dr. Prof.")):
        (tmp_path / f"{run}/{file}").parent.mkdir(parents=True)
        (tmp_path / f"{run}/{file}").write_text(text)
        code = load((edit[0], edit[1], edit[2].replace("TOP", f"{tmp_path}/{run}")))["person"]
        assert file in code.files
        hashes.add(str(code.files[file]))
    assert len(hashes) == 2


READ_BY_OTHERS = {
    "read by a package": "import configparser\nTABLE = configparser.ConfigParser().read('tables/de/x.ini')",
    "read by another file": "from ...loading import load\nTABLE = lambda: load('tables', 'x')",
    "below the folder that is named": "import pathlib\nTABLE = [*pathlib.Path('tables').rglob('*')]",
}
LOADING = {"loading": "def load(folder, name):\n    return open(f'{folder}/de/{name}.ini').read()\n"}


@pytest.mark.parametrize("read", READ_BY_OTHERS.values(), ids=READ_BY_OTHERS)
@pytest.mark.parametrize("linked", [False, True], ids=["a folder", "a link to a folder"])
def test_a_data_file_counts_no_matter_what_opens_it(load: Load, tmp_path: Path, read: str, linked: bool) -> None:
    hashes = set()
    for run, text in enumerate(("Dr.", "Dr. Prof.")):
        folder = tmp_path / (f"elsewhere{run}" if linked else f"{run}/tables")
        (folder / "de").mkdir(parents=True)
        (folder / "de/x.ini").write_text(text)
        if linked:
            (tmp_path / str(run)).mkdir()
            (tmp_path / f"{run}/tables").symlink_to(folder)
        code = load((HR, UNITS_IMPORT, f"{UNITS_IMPORT}{read}\n"), **LOADING)["person"]
        hashes.add(str(code.files["tables/de/x.ini"]))
    assert len(hashes) == 2


def test_a_folder_that_links_to_itself_is_searched_once(load: Load, tmp_path: Path) -> None:
    (tmp_path / "0/lists").mkdir(parents=True)
    (tmp_path / "0/lists/again").symlink_to(tmp_path / "0/lists")
    (tmp_path / "0/lists/titles.txt").write_text("Dr.")
    found = load((NAMES_IT[0], NAMES_IT[1], NAMES_IT[2].replace("TOP", f"{tmp_path}/0")))["person"].files
    assert [name for name in found if name.endswith("titles.txt")] == ["lists/titles.txt"]


def test_the_pipeline_file_is_no_code_of_a_mapping_that_reads_its_folder(load: Load) -> None:
    reads = ("units.py", "FACTORS =", "HERE = __file__\nFACTORS =")
    edited = ("pipeline.yaml", "public.place]", "public.place] ")
    assert load(reads)["person"].sha256 == load(reads, edited)["person"].sha256


def test_examples_and_hidden_files_are_no_code(load: Load, tmp_path: Path) -> None:
    for file in ("sources/hr/titles.txt", "sources/hr/examples/public.person/a.json", "sources/hr/.titles.swp"):
        for run in ("0", "1"):
            (tmp_path / run / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / run / file).write_text("Dr.")
    assert sorted(load(READS)["person"].files) == ["entities.py", HR, "sources/hr/titles.txt", "units.py"]
    named = (READS[0], READS[1], f"{READS[2]}\nSOURCE = 'hr'")
    assert "sources/hr/examples/public.person/a.json" not in load(named)["person"].files


def test_a_folder_that_only_has_the_name_of_a_source_is_no_code(load: Load, tmp_path: Path) -> None:
    (tmp_path / "0/hr").mkdir(parents=True)
    (tmp_path / "0/hr/schema.sql").write_text("CREATE TABLE")
    assert "hr/schema.sql" not in load((HR, "TITLES =", "SOURCE = 'hr'\nTITLES ="))["person"].files


@pytest.mark.parametrize("text", ["ä" * 150, "sources/" + "ü" * 130, "\\ud800", "a\\0b"])
def test_a_text_that_can_name_no_file_is_code_like_any_other(load: Load, text: str) -> None:
    named = (HR, 'TITLES = ("Dr.", "Prof.")', f'TITLES = open("") if False else ("{text}",)')
    assert load(named)["person"].sha256 != load()["person"].sha256


def test_data_is_hashed_piece_by_piece(load: Load, tmp_path: Path) -> None:
    size = 32 * 2**20
    (tmp_path / "0/sources/hr").mkdir(parents=True)
    with (tmp_path / "0/sources/hr/large.bin").open("wb") as large:
        large.truncate(size)
    tracemalloc.start()
    try:
        code = load((HR, "TITLES =", "ANY = open\nTITLES ="))["person"]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "sources/hr/large.bin" in code.files
    assert peak_bytes < size / 4


def test_the_version_of_a_package_that_a_file_imports_counts(load: Load) -> None:
    code = load((HR, UNITS_IMPORT, f"import orjson\n{UNITS_IMPORT}"))["person"]
    assert any(package.startswith("orjson ") for package in code.packages)
    newer = MappingCode(code.files, {package.replace("orjson 3", "orjson 4") for package in code.packages})
    assert newer.sha256 != code.sha256
    assert not any(package.startswith("orjson ") for package in load()["person"].packages)


def test_a_package_that_is_installed_later_changes_the_code(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    optional = (HR, UNITS_IMPORT, f"try:\n    from ... import later\nexcept ImportError:\n    pass\n{UNITS_IMPORT}")
    before = load(optional)["person"].sha256
    assert before != load(optional, later="")["person"].sha256


def test_the_text_for_people_lists_files_and_packages(load: Load) -> None:
    assert re.fullmatch(
        r"entities\.py, sources/hr/mapping\.py, units\.py, pydantic [\d.]+, Python 3\.\d+", str(load()["person"])
    )


def test_a_file_of_the_author_s_outside_of_the_pipeline_is_code(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "shared"))
    (tmp_path / "shared/ours").mkdir(parents=True)
    use = (HR, "name.strip()", "names.short(name)"), (HR, UNITS_IMPORT, f"{UNITS_IMPORT}from ours import names\n")
    hashes = set()
    for length in (10, 20):
        (tmp_path / "shared/ours/names.py").write_text(f"def short(name):\n    return name[:{length}]\n")
        code = load(*use)["person"]
        assert "ours/names.py" in code.files
        hashes.add(code.sha256)
    assert len(hashes) == 2


def test_sluice_counts_by_its_own_number_and_not_by_its_version(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authored_imports, "_distributions", lambda: {"sluice": ["orjson"], "pydantic": ["pydantic"]})
    code = load()["person"]
    before = code.sha256
    assert "orjson" not in str(code)
    monkeypatch.setattr(mapping_code, "CODE_HASH_VERSION", mapping_code.CODE_HASH_VERSION + 1)
    assert load()["person"].sha256 != before


def test_a_file_that_lies_among_installed_packages_and_belongs_to_none_is_code(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/of_no_package.py").write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    assert "of_no_package.py" in load((HR, UNITS_IMPORT, f"{UNITS_IMPORT}import of_no_package\n"))["person"].files


SHIPPED = """
from pydantic import BaseModel
from sluice.entities import mapping
from support.people import Person

class Row(BaseModel):
    number: str

@mapping(source="hr.public.person", version=1)
def person(raw: Row) -> Person:
    return Person(number=raw.number)
"""


def test_a_mapping_from_an_installed_package_counts_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/shipped.py").write_text(SHIPPED)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.setattr(authored_imports, "_distributions", lambda: {"shipped": ["orjson"]})
    code = code_of(import_module("shipped").person)
    assert [*code.files] == ["support/people.py"]
    assert any(package.startswith("orjson ") for package in code.packages)


def test_a_function_without_a_file_has_no_hash() -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec(SHIPPED, names)  # noqa: S102
    with pytest.raises(SettingsError, match=r"nowhere\.person: has no source file"):
        code_of(names["person"])


def test_a_module_that_imports_its_own_parts_is_followed(load: Load) -> None:
    more = {"shapes/__init__": "from . import round_ones\n", "shapes/round_ones": "def area(r):\n    return str(r)\n"}
    use = (
        (HR, "name.strip()", "shapes.round_ones.area(name)"),
        (HR, UNITS_IMPORT, f"{UNITS_IMPORT}from ... import shapes\n"),
    )
    before = load(*use, **more)["person"].sha256
    more["shapes/round_ones"] = more["shapes/round_ones"].replace("str(r)", "str(2 * r)")
    assert before != load(*use, **more)["person"].sha256


@pytest.mark.parametrize(
    ("module", "authored"),
    [("re", False), ("sluice.entities", False), ("yaml", False), ("support.workers", True)],
)
def test_an_author_s_module_is_known_by_its_place(module: str, authored: bool) -> None:
    assert is_authored(module, Path(str(import_module(module).__file__))) is authored
