"""Names for parties, from a seeded generator: the same seed makes the same company."""

import random

FIRST = """
    Ada Amara Anouk Anton Beatriz Bo Carla Chen Dario Dilnoza Eero Elif Emeka Farah Felix Freya Gael Hana Hugo
    Ines Isak Ivana Jamal Jonas Kaito Katja Lars Leila Lin Luca Maeve Malik Mina Nadia Nils Noor Olga Omar Pia
    Priya Quentin Rosa Sami Signe Tariq Tess Uma Viktor Wanda Xenia Yara Zoltán
""".split()  # noqa: SIM905 - a list of eighty strings is harder to read
LAST = """
    Abara Andersen Arslan Bakker Bianchi Bos Castillo Cohen Dahl Dubois Eriksen Farkas Fischer Gallo García
    Haddad Hansen Horvat Ito Ivanov Jansen Kaya Kim Kovač Laine Larsen Li Lopez Mbeki Meyer Moreau Nakamura
    Novák Okafor Olsen Park Petrov Quist Ricci Rossi Sato Schäfer Silva Singh Sørensen Suzuki Tanaka Varga
    Virtanen Weber Wójcik Yilmaz Zhang
""".split()  # noqa: SIM905 - a list of eighty strings is harder to read
TRADES = """
    Timber Freight Ceramics Textiles Optics Bearings Seeds Solvents Paper Glass Cables Pumps
""".split()  # noqa: SIM905 - a list of eighty strings is harder to read
FORMS = """
    GmbH Ltd AS BV SARL Oy Kft SpA
""".split()  # noqa: SIM905 - a list of eighty strings is harder to read


def person(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def organisation(rng: random.Random) -> str:
    return f"{rng.choice(LAST)} {rng.choice(TRADES)} {rng.choice(FORMS)}"
