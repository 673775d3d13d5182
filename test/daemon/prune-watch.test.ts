import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Present } from '../../agent/daemon/present.ts';
import { PruneWatch } from '../../agent/daemon/prune-watch.ts';
import type { ImageID } from '../../agent/docker/ids.ts';

/**
 * A dockerd as far as it shows in its files, its events and its answers. Images have a name each: that of theirs in
 * lower case.
 */
class PretendedDocker {
  nowMs = 1000;
  readonly there: Set<string>;
  readonly restored: string[][] = [];
  readonly watch: PruneWatch;
  asked = 0;
  isPruning: boolean | undefined = false;
  /** What an answer waits for. */
  answer: Promise<void> = Promise.resolve();
  /** Whether what is restored is there at once. */
  restores = true;
  /** What happens right before. */
  onRestoring: () => Promise<void> = async () => undefined;
  /** What happens as soon as it is. */
  onRestored: () => Promise<void> = async () => undefined;

  constructor(...images: readonly string[]) {
    this.there = new Set(images);
    this.watch = new PruneWatch({
      read: () => this.#present(),
      isPruning: async () => {
        this.asked += 1;
        const { isPruning } = this;
        await this.answer;
        return isPruning;
      },
      restore: async (pruned) => {
        const images = [...pruned.images].map(String).toSorted();
        this.restored.push(images);
        await this.onRestoring();
        if (this.restores) for (const image of images) this.there.add(image);
        await this.onRestored();
        return this.restores ? pruned : { names: new Map(), images: new Set(), taken: new Set() };
      },
      now: () => this.nowMs,
    });
  }

  #present(): Present {
    return {
      names: new Map([...this.there].map((image) => [image.toLowerCase(), image as ImageID])),
      images: new Set([...this.there] as ImageID[]),
      taken: new Set(),
    };
  }

  /** dockerd removes an image, and tells of it. */
  remove(image: string): void {
    this.nowMs += 5;
    this.there.delete(image);
    for (const action of ['untag', 'delete']) this.watch.take({ action, id: image, timeMs: this.nowMs });
  }

  rmi(image: string): Promise<void> {
    this.isPruning = false;
    this.remove(image);
    return settle();
  }

  async prune(...images: readonly string[]): Promise<void> {
    this.isPruning = true;
    for (const image of images) {
      this.remove(image);
      await settle();
    }
    this.over();
    await this.watch.settled;
  }

  over(): void {
    this.nowMs += 5;
    this.watch.take({ action: 'prune', id: '', timeMs: this.nowMs });
    this.isPruning = false;
    this.nowMs += 5;
  }
}

/** All answers that have come are taken. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

describe('what a prune has taken', () => {
  it('is brought back, and asked for once', async () => {
    const docker = new PretendedDocker('A', 'B', 'C');
    await docker.prune('A', 'B');
    assert.deepEqual(docker.restored, [['A', 'B']]);
    assert.equal(docker.asked, 2, 'once as it went, once when it was back');
    await docker.prune('A');
    assert.deepEqual(docker.restored, [['A', 'B'], ['A']]);
  });

  it('is not what `rmi` removed before', async () => {
    const docker = new PretendedDocker('A', 'B');
    await docker.rmi('A');
    await docker.prune('B');
    assert.deepEqual(docker.restored, [['B']]);
    await docker.prune('B');
    assert.deepEqual(docker.restored, [['B'], ['B']]);
  });

  it("is nothing where only the user's went", async () => {
    const docker = new PretendedDocker('A');
    docker.isPruning = true;
    docker.watch.take({ action: 'delete', id: 'his', timeMs: docker.nowMs });
    docker.over();
    await docker.watch.settled;
    assert.deepEqual([docker.asked, docker.restored], [0, []]);
  });

  it('is what no answer came for before it was over, and not what one came for', async () => {
    for (const isLate of [true, false]) {
      const docker = new PretendedDocker('A', 'B');
      let reply = (): void => undefined;
      docker.answer = new Promise((resolve) => (reply = resolve));
      // dockerd had answered that no prune is under way, or it does so when this one is over.
      docker.isPruning = false;
      docker.remove('A');
      docker.nowMs += 5;
      if (!isLate) reply();
      await settle();
      docker.isPruning = true;
      docker.there.delete('B');
      docker.over();
      reply();
      await docker.watch.settled;
      assert.deepEqual(docker.restored, [isLate ? ['A', 'B'] : ['B']]);
    }
  });

  it('is told by no answer that was given while the one before was under way, and is heard when that is over', async () => {
    const docker = new PretendedDocker('A', 'B', 'C');
    let reply = (): void => undefined;
    docker.answer = new Promise((resolve) => (reply = resolve));
    docker.isPruning = true;
    docker.remove('A');
    await settle();
    docker.over();
    reply();
    await docker.watch.settled;
    await settle();
    await docker.rmi('B');
    docker.isPruning = true;
    docker.there.delete('C');
    docker.over();
    await docker.watch.settled;
    assert.deepEqual(docker.restored, [['A'], ['C']]);
  });

  it('is also what dockerd has not answered about', async () => {
    const docker = new PretendedDocker('A');
    docker.isPruning = undefined;
    docker.remove('A');
    await settle();
    docker.over();
    await docker.watch.settled;
    assert.deepEqual(docker.restored, [['A']]);
  });

  it('is asked about again where one takes long, and whose end nobody has heard of', async () => {
    const docker = new PretendedDocker('A', 'B', 'C');
    docker.isPruning = true;
    docker.remove('A');
    await settle();
    docker.nowMs += 20_000;
    docker.remove('B');
    await settle();
    assert.equal(docker.asked, 2);
    docker.nowMs += 20_000;
    await docker.rmi('C');
    docker.over();
    await docker.watch.settled;
    assert.deepEqual(docker.restored, []);
  });

  it('is of the second of two as of the first, also while that is being brought back', async () => {
    const docker = new PretendedDocker('A', 'B');
    docker.there.delete('A');
    docker.over();
    docker.there.delete('B');
    docker.over();
    await docker.watch.settled;
    assert.deepEqual(docker.restored.flat().toSorted(), ['A', 'B']);
  });

  it('comes back once where dockerd does not take it', async () => {
    const docker = new PretendedDocker('A', 'B');
    docker.restores = false;
    await docker.prune('A');
    await docker.prune('B');
    assert.deepEqual(docker.restored, [['A'], ['B']]);
  });

  it('is what the user had brought back himself', async () => {
    const docker = new PretendedDocker('A', 'B');
    await docker.rmi('A');
    docker.there.add('A');
    docker.watch.take({ action: 'load', id: 'A', timeMs: docker.nowMs });
    await docker.prune('A', 'B');
    assert.deepEqual(docker.restored, [['A', 'B']]);
  });

  it('is all of one that is under way when what the one before took is back', async () => {
    const docker = new PretendedDocker('A', 'B');
    docker.onRestored = async () => {
      docker.isPruning = true;
      docker.remove('B');
      await settle();
    };
    await docker.prune('A');
    docker.onRestored = async () => undefined;
    docker.remove('A');
    docker.over();
    await docker.watch.settled;
    assert.deepEqual(docker.restored, [['A'], ['A', 'B']]);
  });

  /** Prunes A and B, and has something happen as soon as both are back, before the agent knows that. */
  async function pruneTwice(
    answers: 'late' | 'in time',
    between: (docker: PretendedDocker) => Promise<void>,
  ): Promise<PretendedDocker> {
    const docker = new PretendedDocker('A', 'B', 'C');
    let reply = (): void => undefined;
    if (answers === 'late') docker.answer = new Promise((resolve) => (reply = resolve));
    // When it answers, the prune is over.
    docker.isPruning = answers === 'in time';
    docker.remove('A');
    if (answers === 'in time') await settle();
    docker.remove('B');
    docker.onRestoring = async () => {
      reply();
      await settle();
    };
    docker.onRestored = async () => {
      docker.onRestored = async () => undefined;
      for (const image of ['A', 'B'])
        docker.watch.take({ action: 'tag', id: image, name: image.toLowerCase(), timeMs: docker.nowMs });
      await between(docker);
      docker.isPruning = true;
      docker.remove('B');
      if (docker.there.has('A')) docker.remove('A');
      docker.over();
    };
    docker.over();
    await docker.watch.settled;
    return docker;
  }

  it('is all of one that comes as soon as all is back, whenever dockerd answered about the one before', async () => {
    for (const answers of ['late', 'in time'] as const) {
      const docker = await pruneTwice(answers, async () => undefined);
      assert.deepEqual(
        docker.restored,
        [
          ['A', 'B'],
          ['A', 'B'],
        ],
        answers,
      );
    }
  });

  it('is not what `rmi` removed between two of them, as soon as it was back', async () => {
    for (const answers of ['late', 'in time'] as const) {
      const docker = await pruneTwice(answers, (each) => each.rmi('A'));
      assert.deepEqual(docker.restored, [['A', 'B'], ['B']], answers);
    }
  });
});
