"""Key managers under load that are killed again and again: no key twice, and none that was acknowledged is lost."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qfedfm.core.errors import KeyRefusedError, KeyServiceError, KeyShortageError, KeyUnknownError
from tests.qkd.kmes import SAES, Kmes

ROOT = Path(__file__).parents[2]
KILLS = 6


class Process:
    """A key manager in a process; its socket outlives it."""

    def __init__(self, kmes, name):
        self.kmes, self.name = kmes, name
        self.start()

    def start(self):
        handle = self.kmes.sockets[self.name].fileno()
        given = self.kmes.settings[self.name].model_dump_json()
        command = [sys.executable, "-m", "tests.qkd.kmes", given, str(handle)]
        self.process = subprocess.Popen(command, cwd=ROOT, pass_fds=[handle], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "up\n"

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Load:
    """One application that starts keys, and the other one that collects them, as fast as they can."""

    def __init__(self, kmes, master, slave, stop):
        self.names, self.stop = (master, slave), stop
        self.master, self.slave = kmes.client(master), kmes.client(slave)
        self.given, self.collected, self.unsure, self.lost = {}, {}, set(), []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                key_id, key = self.master.fresh(self.names[1], 32)
            except (KeyServiceError, KeyShortageError):
                time.sleep(0.02)
                continue
            assert key_id not in self.given
            self.given[key_id] = key
            while not self.fetched(key_id):
                time.sleep(0.02)

    def fetched(self, key_id):
        """Whether it is known what became of the key: an answer that is lost on the way burns it."""
        try:
            self.collected[key_id] = self.slave.by_id(self.names[0], key_id)
        except (KeyServiceError, KeyShortageError):
            self.unsure.add(key_id)
            return False
        except KeyRefusedError as error:
            if key_id not in self.unsure or isinstance(error, KeyUnknownError):
                self.lost.append(key_id)
        return True


@pytest.mark.slow
def test_kill_9_under_load(tmp_path):
    chance = random.Random(5)
    kmes = Kmes(tmp_path)
    ends = [Process(kmes, name) for name in SAES]
    stop = threading.Event()
    loads = [Load(kmes, *pair, stop) for pair in (("sae-a", "sae-b"), ("sae-b", "sae-a"), ("sae-a2", "sae-b2"))]
    try:
        kmes.filled(16)
        counts = []
        for number in range(KILLS):
            time.sleep(chance.uniform(0.3, 0.8))
            counts.append(sum(len(load.given) for load in loads))
            ends[number % 2].kill()
            ends[number % 2].start()
        time.sleep(0.5)
        stop.set()
        for load in loads:
            load.thread.join(60)
            assert not load.thread.is_alive()
        assert sum(len(load.given) for load in loads) > counts[-1] > counts[0] > 0
        for load in loads:
            assert load.lost == []
            assert {key_id: load.given[key_id] for key_id in load.collected} == load.collected
            assert set(load.given) - set(load.collected) <= load.unsure
            for key_id in list(load.given)[::7]:
                with pytest.raises(KeyRefusedError):
                    load.slave.by_id(load.names[0], key_id)
        keys = [key for load in loads for key in load.given.values()]
        assert len(set(keys)) == len(keys)
        print(f"{len(keys)} keys over {KILLS} kills, {sum(len(load.unsure) for load in loads)} answers in doubt")
    finally:
        stop.set()
        for end in ends:
            end.kill()
        kmes.close()
