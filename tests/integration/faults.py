"""What tests/crash/fault_shim.c does to the disk of a broker, set and read while it runs."""
import mmap
import os
import struct
import tempfile

FIELDS = ("fail_syncs", "fail_writes", "full", "sync_delay_ms", "hold_back", "syncs_begun", "syncs_ended", "full_told")


class Faults:
    def __init__(self):
        self.__dict__["file"] = file = tempfile.NamedTemporaryFile(prefix="fanq-faults-")
        file.truncate(mmap.PAGESIZE)
        self.__dict__["map"] = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.__dict__["environment"] = {"LD_PRELOAD": os.environ["FAULT_SHIM_SO"], "FAULT_SHIM": file.name}

    def __getattr__(self, name):
        return struct.unpack_from("Q", self.map, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("Q", self.map, 8 * FIELDS.index(name), value)

    def close(self):
        self.map.close()
        self.file.close()
