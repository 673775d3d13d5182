import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { releaseFolder } from '../../../agent/packaging/release/release-folder.ts';
import { scratch } from '../../support/temp-tree.ts';

const source = path.resolve(import.meta.dirname, '../../../agent/packaging/release/release-folder.ts');

/** Its parent with a release of before, which has two files. */
function withRelease(t: TestContext): string {
  const output = path.join(scratch(t), 'release');
  mkdirSync(path.join(output, 'apt'), { recursive: true });
  writeFileSync(path.join(output, 'SHA256SUMS'), 'before');
  writeFileSync(path.join(output, 'apt/Release'), 'before');
  return output;
}

/** Another process, which has half a release, and never ends. */
async function halfMade(t: TestContext, output: string): Promise<ChildProcess> {
  const script = `
    import { writeFileSync } from 'node:fs';
    import { releaseFolder } from '${source}';
    await releaseFolder('${output}', async (folder) => {
      writeFileSync(folder + '/SHA256SUMS', 'after');
      console.log('half');
      await new Promise((resolve) => setTimeout(resolve, 100_000));
    });`;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

const contentOf = (output: string): readonly string[] =>
  ['SHA256SUMS', 'apt/Release'].map((name) => readFileSync(path.join(output, name), 'utf8'));
const unfinishedAt = (output: string): readonly string[] =>
  readdirSync(path.dirname(output)).filter((name) => name.startsWith('.release-'));
const make = async (folder: string): Promise<void> => {
  mkdirSync(path.join(folder, 'apt'));
  writeFileSync(path.join(folder, 'SHA256SUMS'), 'after');
  writeFileSync(path.join(folder, 'apt/Release'), 'after');
};

describe('the folder of a release', () => {
  it('replaces that of before as a whole, and leaves nothing beside it', async (t) => {
    const output = withRelease(t);
    writeFileSync(path.join(output, 'docker-preloader_0.1.0_amd64.deb'), 'of before');
    await releaseFolder(output, make);
    assert.deepEqual(contentOf(output), ['after', 'after']);
    assert.deepEqual(readdirSync(output).toSorted(), ['SHA256SUMS', 'apt']);
    assert.deepEqual(unfinishedAt(output), []);
  });

  it('is that of before where making it fails, and has nothing beside it', async (t) => {
    const output = withRelease(t);
    await assert.rejects(
      releaseFolder(output, async (folder) => {
        await make(folder);
        throw new Error('no space left');
      }),
      /no space left/,
    );
    assert.deepEqual(contentOf(output), ['before', 'before']);
    assert.deepEqual(unfinishedAt(output), []);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    it(`is that of before after ${signal}, which ends it as if it were not caught`, async (t) => {
      const output = withRelease(t);
      const child = await halfMade(t, output);
      assert.equal(unfinishedAt(output).length, 1);
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [null, signal]);
      assert.deepEqual(contentOf(output), ['before', 'before']);
      assert.deepEqual(unfinishedAt(output), []);
    });

  it('is that of before after SIGKILL, and the next one removes what that has left', async (t) => {
    const output = withRelease(t);
    const child = await halfMade(t, output);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.deepEqual(contentOf(output), ['before', 'before']);
    assert.equal(unfinishedAt(output).length, 1);
    await releaseFolder(output, make);
    assert.deepEqual(contentOf(output), ['after', 'after']);
    assert.deepEqual(unfinishedAt(output), []);
  });

  it('is made by one process at a time: the second one says so, and takes nothing away', async (t) => {
    const output = withRelease(t);
    await halfMade(t, output);
    await assert.rejects(releaseFolder(output, make), {
      message: `expected to make ${output} alone, found that another process makes it: wait for its end`,
    });
    assert.equal(unfinishedAt(output).length, 1);
    assert.deepEqual(contentOf(output), ['before', 'before']);
  });
});
