import assert from 'node:assert/strict';
import { random } from '../support/random.ts';

/** Chance, the same for the same seed. */
export class Dice {
  readonly below: (limit: number) => number;

  constructor(seed: number) {
    this.below = random(seed);
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(Math.max(1, list.length))];
  }

  must<T>(list: readonly T[]): T {
    const found = this.pick(list);
    assert.ok(found !== undefined, 'something to choose from');
    return found;
  }

  /** So many of a list, in an order of chance. */
  some<T>(list: readonly T[], count: number): T[] {
    const left = [...list];
    return Array.from({ length: Math.min(count, list.length) }, () => left.splice(this.below(left.length), 1)).flat();
  }

  /** One in so many times. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }
}
