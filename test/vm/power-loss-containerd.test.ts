import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { madeDisk } from '../containerd/real/disks.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok } from '../support/guest.ts';
import { preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { makeVirtualMachine, type VirtualDisk, type VirtualMachine } from '../support/qemu.ts';
import { random } from '../support/random.ts';
import { seed } from '../support/seed.ts';
import { CutMachine } from './cut-machine.ts';
import { AGENT_ONLY, agentOnlyContent, userArchive } from './power-loss-guest.ts';
import { virtualDisks } from './virtual-disks.ts';

/** What the agent is told to make of the store, and which names it has then beside the user's. */
const changes = {
  old: { labels: ['dpl-a', 'dpl-b'], names: ['app-a:1', 'app-b:1', 'one:1'] },
  new: { labels: ['dpl-b2'], names: ['app-b:1'] },
  all: { labels: ['dpl-a', 'dpl-b', 'dpl-b2'], names: ['app-a:1', 'app-b:1', 'one:1'] },
  none: { labels: ['dpl-none-*'], names: [] },
} as const;
type Change = keyof typeof changes;
const changeNames = Object.keys(changes) as readonly Change[];

const ROUNDS = Number(process.env['DPL_RUNS'] ?? 12);
const next = random(seed);
const pick = <T>(list: readonly T[]): T => list[next(list.length)] as T;
const ctr = 'ctr -n moby';
const HUB = 'docker.io/library/';

/** Each round boots the machine, so `npm test` leaves it out: `npm run test:torture`. */
describe('power cuts in a virtual machine, with images in containerd', () => {
  let machine: CutMachine;
  let vm: VirtualMachine;
  let disks: readonly VirtualDisk[];
  let runMs = 0;
  const cuts: string[] = [];

  before(async () => {
    disks = await virtualDisks(['a', 'b', 'b2'], AGENT_ONLY);
    const configs = Object.entries(changes).map(
      ([name, { labels }]) => [name, { labels, store: 'containerd' }] as const,
    );
    const { files, setup } = agentOnlyContent(Object.fromEntries(configs));
    vm = await makeVirtualMachine({
      suite: chosenSuite('trixie'),
      ...preloadedGuest(
        {},
        { files: { ...files, [userArchive]: { copyOf: (await madeDisk('user')).archive } }, setup },
      ),
    });
    machine = new CutMachine(vm);
  });
  after(cleanUpAll);

  async function boot(): Promise<void> {
    await machine.bootWith(disks);
    await ok(vm, 'setsid containerd > /run/containerd.log 2>&1 &');
    await ok(vm, 'until ctr version > /dev/null 2>&1; do sleep 0.2; done', 300);
  }

  /** Of an image, a file, by a view of its snapshot. */
  const fileIn = (image: string, file: string): Promise<string> =>
    ok(
      vm,
      `mkdir -p /run/view && ${ctr} images mount ${HUB}${image} /run/view > /dev/null && cat /run/view/${file}; ${ctr} images unmount --rm /run/view > /dev/null`,
      120,
    );

  /** Of the user's: images, their content, and what a container of his has written on a disk's layers. */
  async function checkUsers(hasDisk: boolean): Promise<void> {
    const check = await ok(vm, `${ctr} images check`, 120);
    assert.match(check, /mine:1 .*complete/);
    assert.equal(await fileIn('mine:1', 'mine'), 'mine');
    const mounts = await ok(vm, `${ctr} snapshots mounts /run/keeper keeper`);
    if (!hasDisk) return;
    const show = `mkdir -p /run/keeper && ${mounts} && cat /run/keeper/own /run/keeper/etc/b2; umount /run/keeper`;
    assert.equal(await ok(vm, show), 'own\nb2');
  }

  const apply = (change: Change): Promise<string> =>
    ok(vm, `docker-preloader apply --degraded-ok --config /etc/power-loss/${change}.json`, 120);

  /** What the next run makes of what was left. */
  async function checkRun(change: Change): Promise<void> {
    const start = performance.now();
    await apply(change);
    runMs = performance.now() - start;
    const planned = await ok(vm, `docker-preloader plan --config /etc/power-loss/${change}.json || true`, 120);
    assert.match(planned, /nothing to do/, change);
    const names = (await ok(vm, `${ctr} images ls -q`)).split('\n').map((name) => name.replace(HUB, ''));
    // The image that his container is made of keeps a name: its own, or that of an image without one.
    const isKept = (name: string): boolean => /^(app-b:1|moby-dangling@.*)$/.test(name);
    assert.ok(names.some(isKept), names.join());
    assert.deepEqual(
      names.filter((name) => !isKept(name)).toSorted(),
      [...changes[change].names, 'mine:1'].filter((name) => !isKept(name)).toSorted(),
      change,
    );
    assert.equal((await ok(vm, `${ctr} leases ls -q`)).trim(), '');
    if (change === 'none') return;
    const isNew = change !== 'old';
    assert.equal(await fileIn('app-b:1', isNew ? 'etc/b-new' : 'etc/b2'), isNew ? 'b-new' : 'b2');
    for (const name of changes[change].names)
      assert.match(await ok(vm, `${ctr} images check`, 120), new RegExp(`${name} .*complete`));
    // Each link leads to a disk.
    const dangling = `find /var/lib/containerd /run/docker-preloader/containerd -xtype l -lname '/*preloader*'`;
    if (change === 'all') assert.equal(await ok(vm, dangling), '');
  }

  it("begins with what is the user's: an image, and a container on a disk's layers", async () => {
    await boot();
    await ok(vm, `${ctr} images import ${userArchive} && ${ctr} images rm ${HUB}app-a:1`, 300);
    await apply('old');
    const top = await ok(
      vm,
      `${ctr} images mount ${HUB}app-b:1 /mnt > /dev/null; ${ctr} snapshots ls | awk '$1 == "/mnt" { print $2 }'; ${ctr} images unmount --rm /mnt > /dev/null`,
      120,
    );
    assert.match(top, /^sha256:[0-9a-f]{64}$/);
    await ok(
      vm,
      `mkdir -p /run/keeper && ${ctr} snapshots prepare keeper ${top} && eval "$(${ctr} snapshots mounts /run/keeper keeper)" && echo own > /run/keeper/own && umount /run/keeper && sync`,
      120,
    );
    await checkUsers(true);
    for (const change of changeNames) await checkRun(change);
  });

  for (let round = 1; round <= ROUNDS; round += 1)
    it(`has lost nothing after a cut: round ${round}`, async (test) => {
      const check = pick(changeNames);
      const words = Array.from({ length: 40 }, () => pick(changeNames));
      const isEager = next(2) === 0;
      const moment = (next(6000) + 1) / 1000;
      await boot();
      // Before the agent has touched anything.
      await checkUsers(false);
      await checkRun(check);
      await checkUsers(check === 'old' || check === 'all');
      // In every other round.
      if (isEager) await machine.writeSoon();
      await machine.startAgents(words);
      await delay(moment * runMs);
      assert.deepEqual(
        machine.said().filter((line) => line.includes('failed')),
        [],
      );
      const phase = await machine.cut();
      cuts.push(`cut at ${moment.toFixed(2)} runs of ${(runMs / 1000).toFixed(1)} s: ${phase}`);
      test.diagnostic(cuts.at(-1) ?? '');
    });

  it('has lost nothing in the end', async (test) => {
    await boot();
    await checkUsers(false);
    for (const change of changeNames) await checkRun(change);
    await apply('old');
    await checkUsers(true);
    test.diagnostic(`seed ${seed}, ${cuts.length} cuts`);
  });
});
