import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { PRUNE_ALL } from '../support/docker-api.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { states } from '../../agent/status/state.ts';
import { checkListed, checkNoTrace, checkRun, checkStore, checkWorks } from './checks.ts';
import { Dice } from './dice.ts';
import { Guest } from './guest.ts';
import type { Seen } from './model.ts';
import type { LifeDisk, Universe } from './universe.ts';
import { userAction, type UserAction } from './user-actions.ts';

/** Lives one life to its end. @throws Error with all that was done up to what is wrong, a line each */
export async function live(seed: number, version: DockerdVersion, universe: Universe, steps: number): Promise<void> {
  const life = new Life(await Guest.make(version, universe), seed);
  try {
    await life.begin();
    for (let step = 0; step < steps; step += 1) await life.step();
    await life.end();
    await life.guest.site.remove();
  } catch (error) {
    const list = life.said.map((line, number) => `${String(number + 1).padStart(3)}. ${line}`).join('\n');
    throw new Error(
      `life ${seed} on dockerd ${version}:\n${list}\nand then: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

class Life {
  readonly guest: Guest;
  readonly said: string[] = [];
  readonly #seed: number;
  #dice: Dice;
  #step = 0;
  /** Whether this guest has the daemon, and not `apply` alone. */
  #usesDaemon = false;
  /** How long the last `apply` took that was not killed. */
  #applyMs = 150;

  constructor(guest: Guest, seed: number) {
    this.guest = guest;
    this.#seed = seed;
    this.#dice = new Dice(seed);
  }

  #say(line: string): void {
    this.said.push(line);
    if (process.env['DPL_TELL'] === '1') console.error(`${this.#seed} ${line}`);
  }

  async begin(): Promise<void> {
    this.#usesDaemon = this.#dice.once(2);
    if (this.#usesDaemon) this.#say('with the daemon');
    await this.#chooseSettings();
    if (this.#dice.once(2)) await this.#changeDisks();
    await this.#boot();
  }

  /** Each step has dice of its own: what is decided later does not hang on how much was decided before. */
  async step(): Promise<void> {
    this.#step += 1;
    this.#dice = new Dice(this.#seed * 1009 + this.#step);
    if (this.#dice.below(100) < 65) await this.#use();
    else await this.#restart();
  }

  async #use(): Promise<void> {
    const action = userAction(this.guest, this.#dice);
    this.#say(action.text);
    const before = this.guest.store.images();
    await action.run();
    this.#learn(await this.guest.seen(), action, before);
    await checkListed(this.guest);
  }

  /** @param before when each image was written */
  #learn(seen: Seen, { did, says }: UserAction, before: ReadonlyMap<string, number>, wrote = did.wrote ?? []): void {
    const { model, store } = this.guest;
    const isNew = ([image, timeMs]: readonly [string, number]): boolean =>
      before.has(image) && before.get(image) !== timeMs && !wrote.includes(image);
    const brought =
      did.comesBack === undefined || did.comesBack === false
        ? []
        : [...store.images()].filter(isNew).map(([image]) => image);
    model.learn(seen, { ...did, wrote, brought });
    const image = says === undefined ? undefined : model.names.get(says[0]);
    if (says !== undefined && image !== undefined && !this.guest.says.has(image)) this.guest.says.set(image, says[1]);
  }

  /** Docker, or all of the machine, goes and comes back; disks and settings may have changed meanwhile. */
  async #restart(): Promise<void> {
    const dice = this.#dice;
    if (dice.once(4)) await this.#killDocker();
    else {
      this.#say('Docker stops');
      await this.guest.stop();
      assert.deepEqual(
        [...this.guest.store.names()].length,
        this.guest.model.names.size,
        'names that dockerd has left',
      );
    }
    const isNew = dice.once(6);
    if (isNew) await this.#chooseSettings();
    const changes = dice.below(3);
    for (let count = changes; count > 0; count -= 1) await this.#changeDisks();
    // It has read its configuration at its start.
    if (isNew || changes > 0 || dice.once(3)) await this.#endDaemon();
    await this.#boot();
  }

  /** With a command under way, or without. What is half done then is dockerd's to lose, but nothing else. */
  async #killDocker(): Promise<void> {
    const { guest } = this;
    const action = this.#dice.once(3) ? undefined : userAction(guest, this.#dice);
    const times = guest.store.images();
    const afterMs = action === undefined ? 0 : this.#dice.below(this.#dice.once(2) ? 60 : 400);
    const doing = action?.run().catch(() => {});
    await delay(afterMs);
    await guest.kill();
    await doing;
    this.#say(
      action === undefined ? 'dockerd is killed' : `${action.text}: dockerd is killed ${afterMs} ms after that`,
    );
    if (action === undefined) return;
    for (const name of action.drops ?? []) guest.containers.delete(name);
    const now = guest.store.images();
    const meant = action.did.wrote ?? [];
    const wrote = meant.filter((image) => now.has(image) && times.get(image) !== now.get(image));
    this.#learn(
      guest.onDisk(),
      { ...action, did: { ...action.did, ...(action.did.comesBack === true ? { comesBack: 'perhaps' } : {}) } },
      times,
      wrote,
    );
  }

  async #chooseSettings(): Promise<void> {
    const { guest } = this;
    guest.settings = {
      conflicts: this.#dice.must(['user', 'disk']),
      removedImages: this.#dice.must(['restore', 'respect']),
      prunedImages: this.#dice.must(['restore', 'restore', 'respect']),
    };
    guest.isGlob = this.#dice.once(3);
    await guest.configure();
    this.#say(
      `${Object.entries(guest.settings)
        .map(([key, value]) => `${key}: ${value}`)
        .join(', ')}, labels: ${guest.isGlob ? 'a glob' : 'in order'}`,
    );
  }

  /** One disk comes, goes, is built anew, or has another label. */
  async #changeDisks(): Promise<void> {
    const { guest } = this;
    const name = this.#dice.must(['a', 'b', 'c']);
    const present = guest.disks.get(name);
    const disk: LifeDisk = this.#dice.must(guest.universe.disks);
    if (present === undefined) {
      this.#say(`disk ${name} is attached: ${disk.name}`);
      return guest.attach(name, disk);
    }
    if (this.#dice.once(4)) return this.#changeTwin(name, present);
    await guest.detach(name);
    const what = this.#dice.must(['goes', 'goes', 'changes', 'changes', 'moves']);
    const free = ['a', 'b', 'c'].find((one) => !guest.disks.has(one) && one !== name);
    if (what === 'changes') {
      this.#say(`disk ${name} is now ${disk.name}, it was ${present.name}`);
      await guest.attach(name, disk);
    } else if (what === 'moves' && free !== undefined) {
      this.#say(`disk ${name} is labelled ${free} now: ${present.name}`);
      await guest.attach(free, present);
    } else {
      this.#say(`disk ${name} is detached: ${present.name}`);
    }
  }

  /** A second device with the same label comes or goes. */
  async #changeTwin(name: string, disk: LifeDisk): Promise<void> {
    const { guest } = this;
    const { same, other } = guest.twins();
    if ([...same, ...other].includes(name)) {
      this.#say(`the second device with the label of disk ${name} is detached`);
      return guest.detachTwin(name);
    }
    const twin = this.#dice.once(3) ? this.#dice.must(guest.universe.disks) : disk;
    this.#say(`a second device with the label of disk ${name} is attached: ${twin.name}`);
    return guest.attachTwin(name, twin);
  }

  /** The agent runs, once or twice killed, then dockerd; all that is to be there is looked for. */
  async #boot(): Promise<void> {
    const { guest } = this;
    const dice = this.#dice;
    if (dice.below(3) > 0) {
      await this.#endDaemon();
      this.#say('the machine is off and on');
      await guest.unmount();
    }
    for (let kills = dice.once(3) ? 1 + dice.below(2) : 0; kills > 0; kills -= 1) await this.#killedRun();
    const before = { images: guest.store.images(), layers: guest.store.layers() };
    const outcome = guest.model.predict(guest.attached(), guest.settings, guest.store);
    const isAlone = !guest.hasDaemon;
    const exitCode = this.#usesDaemon && isAlone ? await this.#startDaemon() : await this.#apply();
    guest.model.settle(outcome, guest.store);
    checkStore(guest, before);
    await checkRun(guest, exitCode, outcome, isAlone);
    await this.#startDocker();
  }

  async #apply(): Promise<number | undefined> {
    const start = performance.now();
    const { exitCode, all } = await this.guest.agent('apply');
    this.#applyMs = performance.now() - start;
    this.#say(`apply: ${exitCode}${all === '' ? '' : `\n       ${all.replaceAll('\n', '\n       ')}`}`);
    return exitCode;
  }

  async #startDaemon(): Promise<number> {
    await this.guest.startDaemon();
    const { state, findings } = this.guest.site.status();
    this.#say(
      [`the daemon starts: ${state}`, ...findings.map(({ code, message }) => `       ${code}: ${message}`)].join('\n'),
    );
    return states[state].exitStatus;
  }

  async #endDaemon(): Promise<void> {
    if (!this.guest.hasDaemon) return;
    const signal = this.#dice.must(['SIGTERM', 'SIGKILL'] as const);
    this.#say(`the daemon ends by ${signal}`);
    await this.guest.stopDaemon(signal);
  }

  async #killedRun(): Promise<void> {
    const { guest } = this;
    const before = { images: guest.store.images(), layers: guest.store.layers() };
    const outcome = guest.model.predict(guest.attached(), guest.settings, guest.store);
    const afterMs = Math.round(this.#applyMs * (0.15 + this.#dice.below(100) / 100));
    if (await guest.killedApply(afterMs)) {
      this.#say(`apply, which was to be killed after ${afterMs} ms, had ended`);
      guest.model.settle(outcome, guest.store);
    } else {
      const isNew = guest.model.settleKilled(outcome, guest.store);
      this.#say(`apply is killed after ${afterMs} ms: names are ${isNew ? 'as they are to be' : 'as before'}`);
    }
    checkStore(guest, before);
    if (this.#dice.below(2) > 0) return;
    await this.#startDocker();
    for (let count = this.#dice.below(3); count > 0; count -= 1) await this.#use();
    this.#say('Docker stops');
    await guest.stop();
  }

  async #startDocker(): Promise<void> {
    await this.guest.start();
    this.#say('Docker starts');
    await this.#sweep();
    await this.guest.follow();
    await checkListed(this.guest);
    await checkWorks(this.guest, this.#dice);
  }

  /** Containers that a killed dockerd has half made: the user throws them away. */
  async #sweep(): Promise<void> {
    const { guest } = this;
    const listed = await guest.get<readonly { Id: string; Names: readonly string[] }[]>('/containers/json?all=1');
    for (const { Id, Names } of listed)
      if (!guest.containers.has(Names[0]?.slice(1) ?? '')) await guest.tell('DELETE', `/containers/${Id}?force=1&v=1`);
  }

  /** All disks go, and all that is the user's; then nothing is left of us. */
  async end(): Promise<void> {
    const { guest } = this;
    this.#step += 1;
    this.#dice = new Dice(this.#seed * 1009 + this.#step);
    const isBefore = this.#dice.once(2);
    if (isBefore) await this.#removeAll();
    await this.#endDaemon();
    this.#say('Docker stops; all disks go');
    await guest.stop();
    for (const name of guest.disks.keys()) await guest.detach(name);
    await this.#boot();
    // He may have done something on what a killed run has left, too.
    if (!isBefore || guest.model.names.size > 0 || guest.model.images.size > 0) await this.#removeAll();
    await this.#endDaemon();
    this.#say('Docker stops; apply, unlink');
    await guest.stop();
    const { exitCode, all } = await guest.agent('apply');
    const layers = guest.store.layers();
    const isOurs = (chain: string): boolean => layers.get(chain)?.linkTo !== undefined;
    const isHeld = [...guest.store.leftOver()].some(isOurs);
    const isForgotten = [...guest.store.underBuildKit()].some(isOurs);
    // To stand under nothing but a build cache is no fault.
    assert.equal(exitCode, isHeld ? 3 : 0, all);
    await guest.unmount();
    const unlinked = await guest.agent('unlink');
    assert.equal(unlinked.exitCode, isHeld || isForgotten ? 3 : 0, unlinked.all);
    checkNoTrace(guest);
  }

  async #removeAll(): Promise<void> {
    const { guest } = this;
    await this.#endDaemon();
    this.#say('the user removes all that is his');
    for (const name of guest.containers.keys()) await guest.tell('DELETE', `/containers/${name}?force=1&v=1`);
    guest.containers.clear();
    await guest.tell('POST', PRUNE_ALL);
    await guest.tell('POST', '/build/prune?all=1');
    const usage = JSON.parse((await guest.tell('GET', '/system/df')).toString()) as { BuildCache: unknown[] | null };
    assert.deepEqual(usage.BuildCache ?? [], [], 'the build cache after a prune');
    guest.model.learn(await guest.seen(), { takes: () => true, removes: true });
    await checkListed(guest);
  }
}
