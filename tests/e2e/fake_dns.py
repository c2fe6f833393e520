from nameserver import Nameserver as FakeDns
