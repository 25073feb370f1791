#!/usr/bin/env python3
"""A switch between hosts that loses, doubles, holds back and overtakes frames.

Why it is there: tc's netem does all of this, and kernels of the machines that these tests run on are built without it.
So the hosts' links end in a namespace in which this program, instead of a bridge, reads every frame from a raw packet
socket and sends it on: to the link behind which its destination was seen, or to all others.

It draws from a seed, owns no state but addresses and frames under way, and says on SIGTERM what it did:

    frames N lost N doubled N late N fragments N oversized N
"""

import argparse
import heapq
import random
import selectors
import signal
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
BUFFER_BYTES = 16 << 20
FRAME_BYTES_MAX = 1514  # an MTU of 1500 and the Ethernet header
FRAMES_HELD_MAX = 200_000
GROUP_BIT = 1


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("links", nargs="+", help="interfaces to forward between")
    parser.add_argument("--loss", type=float, default=0, help="share of frames that are lost, in percent")
    parser.add_argument("--duplicate", type=float, default=0, help="share that arrives twice, in percent")
    parser.add_argument("--reorder", type=float, default=0, help="share that is overtaken by later ones, in percent")
    parser.add_argument("--late", type=float, default=10, help="how much later those come, in milliseconds, at most")
    parser.add_argument("--delay", type=float, default=0, help="how long every frame takes, in milliseconds")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Switch:
    def __init__(self, wanted):
        self.wanted = wanted
        self.chance = random.Random(wanted.seed)
        self.links = {}
        for name in wanted.links:
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            link.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
            link.bind((name, ETH_P_ALL))
            link.setblocking(False)
            self.links[name] = link
        self.behind = {}  # address -> link
        self.held = []  # (when, number, link, frame)
        self.number = 0
        self.counts = dict.fromkeys(("frames", "lost", "doubled", "late", "fragments", "oversized"), 0)

    def took(self, share):
        return share > 0 and self.chance.random() * 100 < share

    def look(self, frame):
        """Counts what should not be there: parts of IP packets, and frames larger than the MTU."""
        self.counts["frames"] += 1
        if len(frame) > FRAME_BYTES_MAX:
            self.counts["oversized"] += 1
        if frame[12:14] == b"\x08\x00" and struct.unpack_from("!H", frame, 20)[0] & 0x3FFF:
            self.counts["fragments"] += 1

    def came(self, link, frame, now):
        self.look(frame)
        self.behind[frame[6:12]] = link
        if frame[0] & GROUP_BIT or frame[:6] not in self.behind:
            targets = [other for other in self.links if other != link]
        else:
            targets = [self.behind[frame[:6]]]
        for target in targets:
            if self.took(self.wanted.loss) or len(self.held) > FRAMES_HELD_MAX:
                self.counts["lost"] += 1
                continue
            copies = 1
            if self.took(self.wanted.duplicate):
                self.counts["doubled"] += 1
                copies = 2
            for _ in range(copies):
                when = now + self.wanted.delay / 1e3
                if self.took(self.wanted.reorder):
                    self.counts["late"] += 1
                    when += self.chance.uniform(0, self.wanted.late / 1e3)
                self.number += 1
                heapq.heappush(self.held, (when, self.number, target, frame))

    def send_due(self, now):
        while self.held and self.held[0][0] <= now:
            _, _, link, frame = heapq.heappop(self.held)
            try:
                self.links[link].send(frame)
            except OSError:
                # no room, or too large for the link: a frame that is lost, as on any network
                self.counts["lost"] += 1

    def run(self):
        waiting = selectors.DefaultSelector()
        for name, link in self.links.items():
            waiting.register(link, selectors.EVENT_READ, name)
        while True:
            now = time.monotonic()
            self.send_due(now)
            wait = None if not self.held else max(0, self.held[0][0] - now)
            for key, _ in waiting.select(wait):
                self.drain(key.data)

    def drain(self, name):
        for _ in range(256):
            try:
                frame, (_, _, kind, _, _) = self.links[name].recvfrom(1 << 16)
            except BlockingIOError:
                return
            if kind != socket.PACKET_OUTGOING:
                self.came(name, frame, time.monotonic())


def main():
    switch = Switch(options())

    def end(_signal, _frame):
        print(*(f"{name} {count}" for name, count in switch.counts.items()), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("forwarding", flush=True)
    switch.run()


main()
