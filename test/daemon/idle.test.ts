import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { exitWhenIdle } from '../../agent/daemon/idle.ts';
import { unbroken } from '../../agent/daemon/unbroken.ts';

describe('a daemon that nobody asks', () => {
  it('ends, but not in the middle of what it brings back, and not where somebody asks meanwhile', async (t) => {
    const ended: string[] = [];
    t.mock.method(process, 'exit', () => ended.push('ended'));
    let [came, gone] = [(): void => undefined, (_agoSec: number): void => undefined];
    let done = (): void => undefined;
    const work = unbroken(new Promise<void>((resolve) => (done = resolve)));
    const follow = (onCame: () => void, onGone: (agoSec: number) => void): void => {
      [came, gone] = [onCame, onGone];
    };
    const clients = { over: new Promise<void>(() => undefined), follow, beginAnew: () => undefined };
    exitWhenIdle(clients, 0.05, Promise.resolve());
    await delay(200);
    assert.deepEqual(ended, []);
    came();
    done();
    await work;
    await delay(200);
    assert.deepEqual(ended, []);
    gone(0);
    await delay(200);
    assert.deepEqual(ended, ['ended']);
  });
});
