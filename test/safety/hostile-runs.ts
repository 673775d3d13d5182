import assert from 'node:assert/strict';
import path from 'node:path';
import { measured, type Measured } from './measured.ts';

const PEAK_MB = 256;
const SECONDS = 10;

/** Runs of `apply` on hostile disks: what holds for each of them, and what the worst of them took. */
export class HostileRuns {
  readonly #runs: { readonly what: string; readonly result: Measured }[] = [];

  /**
   * Runs `apply`, and checks what holds whatever the disks are.
   * @param config the agent's configuration, in a folder for this
   */
  async apply(what: string, config: string): Promise<Measured> {
    const result = await measured(['apply', '--config', config], path.join(path.dirname(config), 'time'));
    this.#runs.push({ what, result });
    const { exitCode, all, peakMb, seconds } = result;
    assert.ok(
      exitCode === 0 || exitCode === 3,
      `expected exit status 0 or 3, found ${String(exitCode)}: ${all.slice(0, 2000)}`,
    );
    assert.ok(peakMb < PEAK_MB, `${peakMb.toFixed(0)} MB`);
    assert.ok(seconds < SECONDS, `${seconds} s`);
    checkOutput(all);
    return result;
  }

  /** Tells what the worst took. */
  tell(): void {
    const worst = (of: (result: Measured) => number): string => {
      const [first] = this.#runs.toSorted((a, b) => of(b.result) - of(a.result));
      return first === undefined ? 'none' : `${of(first.result).toFixed(1)} (${first.what})`;
    };
    console.log(
      `${this.#runs.length} runs on hostile disks: at most ${worst(({ peakMb }) => peakMb)} MB, ${worst(({ seconds }) => seconds)} s`,
    );
  }
}

/** No control character, no line without end, and nothing of a file that no disk may lead to. */
export function checkOutput(all: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  assert.doesNotMatch(all, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
  for (const line of all.split('\n')) assert.ok(line.length < 2000, `a line of ${line.length} characters`);
  assert.ok(!/root:[$!*]/.test(all), 'a line of /etc/shadow');
}
