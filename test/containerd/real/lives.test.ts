import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { readFile } from 'node:fs/promises';
import type { FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { random } from '../../support/random.ts';
import { seed } from '../../support/seed.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';
import { ContainerdSite, linksBelow } from './site.ts';

const count = Number(process.env['DPL_RUNS'] ?? (torture ? 120 : 2));
const STEPS = 14;
const versions = ['28.5', '26.1'] as const;
const HUB = 'docker.io/library/';

describe(
  `random lives of containerd's store from seed ${seed}: DPL_SEED=${seed} lives them again`,
  { concurrency: 2 },
  () => {
    after(cleanUpAll);
    for (let number = seed; number < seed + count; number += 1) {
      const version = versions[number % versions.length] ?? '28.5';
      it(`life ${number} on dockerd ${version}`, async () => {
        const site = await ContainerdSite.make(version);
        const life = new Life(site, number);
        try {
          await life.run();
        } catch (error) {
          throw new Error(
            `life ${number} on dockerd ${version}:\n${life.told.join('\n')}\nand then: ${String(error)}`,
            {
              cause: error,
            },
          );
        } finally {
          await site.remove();
        }
      });
    }
  },
);

type Settings = FillOptions['config'];

/**
 * A life of a store: what a user does, disks that come and go, runs and containerds that are killed. What is his is
 * known by what he has done, and by nothing that the agent writes.
 */
class Life {
  readonly told: string[] = [];
  readonly #site: ContainerdSite;
  readonly #dice: (limit: number) => number;
  /** The user's names, as containerd has them, with what they name. */
  readonly #users = new Map<string, string>();
  /** Of these, names that a disk has taken. */
  readonly #taken = new Set<string>();
  readonly #containers = new Set<string>();
  #settings: Settings = { conflicts: 'user', removedImages: 'restore' };
  #number = 0;
  #hasLostLayers = false;

  constructor(site: ContainerdSite, number: number) {
    this.#site = site;
    this.#dice = random(number * 7919);
  }

  async run(): Promise<void> {
    await this.#site.startDockerd();
    for (let step = 0; step < STEPS; step += 1) {
      await this.#one([
        () => this.#load(),
        () => this.#tag(),
        () => this.#remove(),
        () => this.#create(),
        () => this.#commit(),
        () => this.#prune(),
        () => this.#changeDisks(),
        () => this.#changeDisks(),
        () => this.#changeSettings(),
        () => this.#restart(),
        () => this.#kill(),
      ])();
      await this.#fill();
    }
    await this.#end();
  }

  #one<Item>(items: readonly Item[]): Item {
    return items[this.#dice(items.length)] as Item;
  }

  get #docker(): Dockerd {
    const { dockerd } = this.#site;
    assert.ok(dockerd);
    return dockerd;
  }

  #say(what: string): void {
    this.told.push(`  ${this.told.length + 1}. ${what}`);
  }

  /** All names of Docker's namespace, with what they name. */
  async #names(): Promise<Map<string, string>> {
    const text = await this.#site.containerd.ctr(['-n', 'moby', 'images', 'ls']);
    return new Map(
      text
        .split('\n')
        .slice(1)
        .flatMap((line) => {
          const [name = '', , digest = ''] = line.split(/\s+/);
          return name === '' ? [] : [[name, digest] as const];
        }),
    );
  }

  /** Names with a tag. */
  async #tags(): Promise<Map<string, string>> {
    return new Map([...(await this.#names())].filter(([name]) => !name.includes('@')));
  }

  /** The user gives a name: it is his, whatever was there. */
  async #gave(...familiar: readonly string[]): Promise<void> {
    const now = await this.#tags();
    for (const name of familiar) {
      const digest = now.get(HUB + name);
      assert.ok(digest, `${name} is there`);
      this.#users.set(HUB + name, digest);
      this.#taken.delete(HUB + name);
    }
  }

  /** What of the user's is gone, which he has asked for. */
  async #removed(): Promise<void> {
    const now = await this.#tags();
    for (const name of this.#users.keys())
      if (!now.has(name)) {
        this.#users.delete(name);
        this.#taken.delete(name);
      }
  }

  async #load(): Promise<void> {
    // On a layer whose disk is gone, dockerd unpacks nothing.
    if (this.#hasLostLayers) return;
    const name = this.#one(['user', 'a', 'b']);
    this.#say(`docker load of ${name}`);
    await this.#docker.cli(['load', '--quiet'], await readFile((await madeDisk(name)).archive));
    const names = { user: ['app-a:1', 'mine:1'], a: ['app-a:1'], b: ['app-b:1', 'one:1'] }[name] ?? [];
    await this.#gave(...names);
  }

  async #tag(): Promise<void> {
    const from = this.#one([...(await this.#tags()).keys()]);
    if (from === undefined) return;
    const to = this.#one(['own:1', 'own:2', 'app-a:1', 'one:1']);
    if (HUB + to === from) return;
    this.#say(`docker tag ${from} ${to}`);
    await this.#docker.cli(['tag', from, to]);
    await this.#gave(to);
  }

  async #remove(): Promise<void> {
    const name = this.#one([...(await this.#tags()).keys()]);
    if (name === undefined) return;
    this.#say(`docker rmi ${name}`);
    const failed = await this.#docker.cli(['rmi', '--force', name]).then(
      () => false,
      () => true,
    );
    if (failed) this.told.push('       which Docker refused');
    else {
      this.#users.delete(name);
      this.#taken.delete(name);
    }
    await this.#removed();
  }

  async #create(): Promise<void> {
    // Of an image whose disk is gone, dockerd makes no container; what it leaves of the attempt keeps layers for a day.
    const whole = new Set(this.#claims().values());
    const images = [...(await this.#tags())].filter(([one, digest]) => whole.has(digest) || one === `${HUB}mine:1`);
    const image = this.#one(images.map(([one]) => one));
    if (image === undefined) return;
    const name = `c${this.#number++}`;
    this.#say(`docker create ${name} of ${image}`);
    await this.#docker.cli(['create', '--name', name, '--network', 'none', image, 'ls', '/']);
    this.#containers.add(name);
  }

  async #commit(): Promise<void> {
    const container = this.#one([...this.#containers]);
    if (container === undefined) return;
    this.#say(`docker commit ${container} made:1`);
    // Of an image whose disk is gone there is nothing to commit.
    const done = await this.#docker.cli(['commit', container, 'made:1']).then(
      () => true,
      () => false,
    );
    if (done) await this.#gave('made:1');
  }

  async #prune(): Promise<void> {
    this.#say('docker image prune --all');
    const used = await this.#tags();
    await this.#docker.cli(['image', 'prune', '--all', '--force']);
    const now = await this.#tags();
    for (const name of used.keys()) if (!now.has(name)) this.told.push(`       took ${name}`);
    await this.#removed();
  }

  async #changeDisks(): Promise<void> {
    const name = this.#one(['a', 'b', 'b2']);
    const isThere = this.#site.disks.some(({ content }) => content.label === `dpl-${name}`);
    if (isThere) {
      this.#say(`disk ${name} is detached`);
      await this.#site.detach(name);
    } else {
      const form = this.#one(['gzip', 'tar'] as const);
      this.#say(`disk ${name} is attached, with ${form}`);
      await this.#site.attach(name, { form, place: `${name}-${this.#number++}` });
    }
  }

  async #changeSettings(): Promise<void> {
    this.#settings = {
      conflicts: this.#one(['user', 'disk'] as const),
      removedImages: this.#one(['restore', 'respect'] as const),
    };
    this.#say(JSON.stringify(this.#settings));
    await Promise.resolve();
  }

  async #restart(): Promise<void> {
    this.#say('Docker stops and starts');
    await this.#docker.stop();
    await this.#site.startDockerd();
  }

  async #kill(): Promise<void> {
    const at = 1 + this.#dice(60);
    const isKilled = await this.#site.killedFill(at, { config: this.#settings });
    this.#say(`a run is ${isKilled ? 'killed' : 'to be killed'} at call ${at}`);
    if (this.#dice(2) === 0) return;
    this.#say('Docker and containerd are killed');
    await this.#docker.kill();
    await this.#site.containerd.kill();
    await this.#site.startContainerd();
    await this.#site.startDockerd();
  }

  /** A run of the agent, after which all of the user's is there. */
  async #fill(): Promise<void> {
    const { findings } = await this.#site.fill({ config: this.#settings });
    this.told.push(...findings.map(({ code, message }) => `       ${code}: ${message}`));
    assert.ok(!findings.some(({ code }) => code === 'RESULT_WRONG'), 'the result is as planned');
    this.#hasLostLayers = findings.some(({ code, message }) => code === 'KEPT' && / layers? that /.test(message));
    const again = await this.#site.fill({ config: this.#settings });
    assert.deepEqual(
      again.plans.flatMap(({ steps }) => steps),
      [],
      'a second run has nothing to do',
    );
    await this.#check();
  }

  /** What the disks have, by name; the later one has it. */
  #claims(): Map<string, string> {
    const claims = new Map<string, string>();
    for (const { content, targets } of this.#site.disks)
      for (const [reference, id] of content.references) {
        const target = targets.find((one) => one.image === id);
        if (target !== undefined && !reference.includes('@')) claims.set(HUB + reference, target.target.digest);
      }
    return claims;
  }

  async #check(): Promise<void> {
    const [all, claims] = [await this.#names(), this.#claims()];
    const digests = new Set(all.values());
    for (const [name, digest] of this.#users) {
      const [found, theirs] = [all.get(name), claims.get(name)];
      // The image itself stays whatever becomes of the name.
      assert.ok(digests.has(digest), `the user's image ${name} is there: ${digest}`);
      if (found === digest) this.#taken.delete(name);
      else {
        assert.ok(
          theirs !== undefined && found === theirs,
          `${name} is the user's: expected ${digest}, found ${found}`,
        );
        assert.ok(this.#settings.conflicts === 'disk' || this.#taken.has(name), `${name} was not to be taken`);
        this.#taken.add(name);
      }
    }
    for (const [name, digest] of claims)
      if (this.#settings.removedImages === 'restore' && !this.#users.has(name))
        assert.equal(all.get(name), digest, `${name} of a disk`);
    for (const name of all.keys())
      assert.ok(
        name.includes('@') || this.#users.has(name) || claims.has(name) || this.#containers.size > 0,
        `${name} is nobody's`,
      );
    const listed = (await this.#docker.cli(['ps', '--all', '--format', '{{.Names}}'])).split('\n');
    for (const container of this.#containers) assert.ok(listed.includes(container), `container ${container} is there`);
    const missing = (await this.#site.containerd.ctr(['-n', 'moby', 'leases', 'ls', '-q'])).match(/docker-preloader/);
    assert.equal(missing, null, 'no lease of ours is left');
  }

  /** With the disks back, each container runs; without them, and without what is the user's, nothing is left. */
  async #end(): Promise<void> {
    this.#say('the user removes his containers; all disks go; unlink');
    for (const container of this.#containers) await this.#docker.cli(['rm', '--force', container]);
    this.#containers.clear();
    for (const name of ['a', 'b', 'b2']) await this.#site.detach(name).catch(() => undefined);
    await this.#fill();
    for (const name of (await this.#tags()).keys()) await this.#docker.cli(['rmi', '--force', name]);
    await this.#docker.cli(['system', 'prune', '--all', '--force']);
    await this.#site.fill({ mode: 'unlink', disks: [] });
    assert.deepEqual([...(await this.#names()).keys()], [], 'images at the end');
    const snapshots = (await this.#site.containerd.ctr(['-n', 'moby', 'snapshots', 'ls'])).split('\n').slice(1);
    assert.deepEqual(
      snapshots.filter((line) => line.trim() !== ''),
      [],
      'snapshots at the end',
    );
    assert.deepEqual(await linksBelow(this.#site.folder), [], 'links at the end');
  }
}
