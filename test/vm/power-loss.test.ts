import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { storeProblems, userProblems, type UserPart } from '../safety/store-invariants.ts';
import { differences, type Tree } from '../support/tree.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { fails, ok } from '../support/guest.ts';
import { agentStatus } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { random } from '../support/random.ts';
import { seed } from '../support/seed.ts';
import { changes, userArchive, type Change } from './power-loss-guest.ts';
import { PowerLossMachine } from './power-loss-machine.ts';
import { agentsPartOf, lastingPartOf, remains } from './power-loss-store.ts';

const next = random(seed);
const pick = <const T>(list: readonly [T, ...T[]]): T => list[next(list.length)] ?? list[0];

/**
 * What goes on when the power is cut: the agent alone, over and over; the boot to Docker; or Docker with containers.
 */
type Kind = 'agent' | 'start' | 'docker';
const rounds = shuffled(
  Array.from({ length: Number(process.env['DPL_RUNS'] ?? 25) }, (_, index): Kind =>
    index % 3 === 1 ? 'docker' : index % 8 === 0 ? 'start' : 'agent',
  ),
);
/**
 * The cut comes at a random moment within so many runs of the agent, starts of Docker, or runs of a container, as long
 * as they took on this machine just now.
 */
const WITHIN: Readonly<Record<Kind, number>> = { agent: 8, start: 1, docker: 5 };
const changeNames = Object.keys(changes) as [Change, ...Change[]];

interface Cut {
  readonly kind: Kind;
  /** In runs of the agent, starts of Docker, or runs of a container. */
  readonly moment: number;
  readonly seconds: number;
  readonly phase: string;
  /** What was found at the boot after it. */
  found?: string;
}

// Each round boots the machine, so `npm test` leaves it out: `npm run test:torture`.
describe('power cuts in a virtual machine', () => {
  let machine: PowerLossMachine;
  let user: UserPart;
  const undisturbed = new Map<Change, Tree>();
  const cuts: Cut[] = [];
  const lasted: Record<Kind, number> = { agent: 0, start: 0, docker: 0 };
  const figures = { boots: 0, mended: 0, dockerStarts: 0 };

  before(async () => {
    machine = await PowerLossMachine.make(chosenSuite('trixie'));
  });
  after(cleanUpAll);

  /** Boots after a cut; before anything has touched the store, all of the user's must be in it. */
  async function boot(kind: 'whole' | 'agentOnly'): Promise<void> {
    await machine.boot(kind);
    figures.boots += 1;
    const last = cuts.at(-1);
    if (last !== undefined) last.found = remains(machine.store);
    assert.deepEqual(userProblems(machine.store, user), [], JSON.stringify(last));
  }

  /**
   * Where two disks have a layer, it stays linked to the one that it is on: which that is, what was before decides, and
   * either is right. Such a link is taken for the one that the undisturbed agent made.
   */
  function withoutHistory(change: Change, tree: Tree): Tree {
    if (change === 'old' || change === 'new') return tree;
    const isKnown = (file: string, entry: string): boolean =>
      file.endsWith('/diff') && [...undisturbed.values()].some((other) => other.get(file) === entry);
    return new Map(
      [...tree].map(([file, entry]) => [
        file,
        isKnown(file, entry) ? (undisturbed.get(change)?.get(file) ?? entry) : entry,
      ]),
    );
  }

  async function cutAfter(kind: Kind, moment: number): Promise<void> {
    const tookMs = moment * lasted[kind];
    await delay(tookMs);
    cuts.push({ kind, moment, seconds: tookMs / 1000, phase: await machine.cut() });
  }

  /** Runs something, whose duration is the measure of the moments of that kind from now on. */
  async function timed<T>(kind: Kind, action: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await action();
    lasted[kind] = performance.now() - start;
    return result;
  }

  const configure = (change: Change): Promise<string> =>
    ok(machine.vm, `cp /etc/power-loss/${change}.json /etc/docker-preloader/config.json`);

  /** Of the user's, as dockerd sees it; and that preloaded images run. */
  async function checkInDocker(change: Change): Promise<void> {
    const { vm } = machine;
    await timed('start', () => machine.startDocker());
    figures.dockerStarts += 1;
    // A container that dockerd had forgotten would lose its volume by this.
    await ok(vm, 'docker volume prune --all --force', 300);
    const images = new Map(
      (await ok(vm, "docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'"))
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    );
    for (const [name, id] of user.references) assert.equal(images.get(name), id, name);
    assert.equal(await ok(vm, 'docker start --attach keeper', 300), 'of the user');
    assert.equal(await ok(vm, 'docker start --attach stander', 300), 'tool');
    assert.equal(
      await timed('docker', () => ok(vm, 'docker run --rm --network none built:1 cat /built', 300)),
      'built',
    );
    assert.equal(
      await ok(vm, 'docker run --rm --network none multi:1 cat /top', 300),
      change === 'both' ? 'second' : 'first',
    );
    assert.notEqual((await agentStatus(vm)).state, 'failed');
  }

  it("begins with what is the user's: images, tags, containers with volumes, on layers of his own and of a disk", async () => {
    await machine.boot('whole');
    await timed('start', () => machine.startDocker());
    const { vm } = machine;
    await ok(vm, `docker load --input ${userArchive}`, 300);
    await ok(vm, 'docker tag multi:1 own/tag:1');
    const container = (name: string, image: string, line: string): string =>
      `docker run --name ${name} --network none --volume ${name}:/volume ${image} sh -c '[ -e /volume/file ] || ${line} > /volume/file; cat /volume/file'`;
    await ok(vm, container('keeper', 'mine:1', 'echo of the user'), 300);
    await ok(vm, container('stander', 'tool:1', 'cat /tool'), 300);
    await ok(
      vm,
      "docker run --name builder --network none multi:1 sh -c 'echo built > /built' && docker commit builder built:1 && docker rm builder",
      300,
    );
    await ok(vm, 'systemctl stop docker.socket docker && sync', 300);
    await machine.look();
    user = lastingPartOf(machine.store, ['mine:1', 'app:1', 'built:1', 'own/tag:1'], ['keeper', 'stander']);
    assert.ok(
      user.entries.size > 50 && user.links.length >= 4,
      `${user.entries.size} entries, ${user.links.length} links`,
    );
    await machine.cut();
  });

  it('knows what an undisturbed agent makes of it', async () => {
    await boot('agentOnly');
    for (const change of changeNames) {
      await ok(machine.vm, `docker-preloader apply --degraded-ok --config /etc/power-loss/${change}.json`);
      await machine.look();
      assert.deepEqual(storeProblems(machine.store, user), [], change);
      undisturbed.set(change, agentsPartOf(machine.store, isPassing));
    }
    assert.notDeepEqual(undisturbed.get('none'), undisturbed.get('both'));
    await machine.cut();
  });

  const runs: Readonly<Record<Kind, () => Promise<void>>> = {
    agent: async () => {
      const check = pick(changeNames);
      const words = Array.from({ length: 40 }, () =>
        next(6) === 0 ? 'unlink' : `${pick(changeNames)}${next(2) === 0 ? '+sync' : ''}`,
      );
      const isEager = next(2) === 0;
      const moment = momentOf('agent');
      await boot('agentOnly');
      await timed('agent', () =>
        ok(machine.vm, `docker-preloader apply --degraded-ok --config /etc/power-loss/${check}.json`),
      );
      assert.match(
        await ok(machine.vm, `docker-preloader apply --degraded-ok --config /etc/power-loss/${check}.json`),
        /nothing to change/,
      );
      await machine.look();
      assert.deepEqual(storeProblems(machine.store, user), []);
      assert.deepEqual(
        differences(undisturbed.get(check) ?? new Map(), withoutHistory(check, agentsPartOf(machine.store, isPassing))),
        [],
        check,
      );
      figures.mended += 1;
      // In every other round.
      if (isEager) await machine.writeSoon();
      await machine.startAgents(words);
      await cutAfter('agent', moment);
      assert.deepEqual(
        machine.said().filter((line) => line.includes('failed')),
        [],
      );
    },
    start: async () => {
      const change = pick(changeNames);
      const moment = momentOf('start');
      await boot('whole');
      await configure(change);
      await ok(machine.vm, 'setsid sh /usr/local/lib/power-loss-boot > /dev/null 2>&1 &');
      await machine.letSystemdGoOn();
      await cutAfter('start', moment);
    },
    docker: async () => {
      // The user's images and containers stand on the old disk.
      const change = pick(['old', 'both', 'reversed']);
      const isRestarted = next(3) === 0;
      const after = pick(['old', 'both', 'reversed']);
      const moment = momentOf('docker');
      const name = `round-${cuts.length + 1}:1`;
      await boot('whole');
      await configure(change);
      await checkInDocker(change);
      const { vm } = machine;
      await vm.run('docker rm --force writer', 300);
      await ok(vm, `docker tag built:1 ${name} && sync`);
      user = { ...user, references: new Map([...user.references, [name, user.references.get('built:1') ?? '']]) };
      await ok(
        vm,
        "docker run --detach --name writer --network none --volume writer:/volume multi:1 sh -c 'i=0; while :; do i=$((i+1)); echo $i >> /volume/log; echo $i > /own; busybox dd if=/dev/zero of=/volume/data bs=64k count=8 conv=fsync 2> /dev/null; done'",
        300,
      );
      if (isRestarted) {
        await configure(after);
        await ok(vm, 'setsid sh /usr/local/lib/power-loss-boot > /dev/null 2>&1 & systemctl --no-block restart docker');
      } else {
        await ok(vm, 'setsid sh /usr/local/lib/power-loss-docker > /dev/null 2>&1 &');
      }
      await cutAfter('docker', moment);
    },
  };

  for (const [index, kind] of rounds.entries()) {
    it(`round ${index + 1}: ${kind}`, async (test) => {
      try {
        await runs[kind]();
      } catch (error) {
        // Told at once: the reporter keeps it for the end, which is an hour away.
        test.diagnostic(inspect(error));
        throw error;
      }
      test.diagnostic(describeCut(cuts.at(-1) ?? assert.fail()));
    });
  }

  it('has lost nothing in the end', async (test) => {
    await boot('whole');
    await configure('both');
    await checkInDocker('both');
    assert.match(await fails(machine.vm, 'docker inspect no-such-thing'), /no such/i);
    await machine.cut();
    test.diagnostic(`seed ${seed}: DPL_SEED=${seed} cuts at the same moments`);
    for (const [index, cut] of cuts.entries())
      test.diagnostic(`${String(index + 1).padStart(2)} ${describeCut(cut)}; then: ${cut.found ?? ''}`);
    const count = (kind: Kind): number => cuts.filter((cut) => cut.kind === kind).length;
    test.diagnostic(
      `${cuts.length} cuts: ${count('agent')} of the agent, ${count('start')} of a boot, ${count('docker')} of Docker with containers; ${figures.boots} boots found all of the user's and a valid repositories.json, ${figures.mended} times the next run made the store of an undisturbed one, ${figures.dockerStarts} times dockerd had everything and ran it`,
    );
    assert.equal(cuts.length, rounds.length);
  });
});

function describeCut({ kind, moment, seconds, phase }: Cut): string {
  return `${kind.padEnd(6)} cut at ${moment.toFixed(2)} (${seconds.toFixed(1)} s): ${phase}`;
}

function momentOf(kind: Kind): number {
  return (next(1000 * WITHIN[kind]) + 1) / 1000;
}

/** Tags that the rounds make. */
function isPassing(reference: string): boolean {
  return /^(churn|round-\d+):/.test(reference);
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item) => ({ item, rank: next(2 ** 30) }))
    .toSorted((left, right) => left.rank - right.rank)
    .map(({ item }) => item);
}
