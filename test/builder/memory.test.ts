import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { tempTree } from '../support/temp-tree.ts';
import { ociLayout, savedArchive, tarOf } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

/** Far apart: garbage, which is let grow up to a point and no further, would be taken for what each file needs. */
const [FEW, MANY] = [10_000, 150_000];
/** Trees of JavaScript's own objects took 2,300. */
const MAX_BYTES_PER_FILE = 1000;
/** What a build may take at most, as the README says of so many files in one layer. */
const MAX_BYTES = 200e6;

describe('memory of build', () => {
  after(cleanUpAll);
  // The sources' run under Node has a heap of its own kind.
  const executable = agentCommand().length === 1;
  for (const filesystem of ['ext4', 'erofs']) {
    it(
      `grows by less than ${MAX_BYTES_PER_FILE} bytes a file of one layer, on ${filesystem}`,
      { skip: !executable && 'only the executable is measured' },
      async () => {
        const tree = await tempTree('dpl-memory');
        const peak = async (files: number): Promise<number> => {
          const archive = path.join(tree.path, `${files}.tar`);
          writeFileSync(
            archive,
            savedArchive([
              {
                tags: ['memory:1'],
                layers: [
                  makeTar(
                    Array.from({ length: files }, (_, index) => ({
                      name: `usr/package-${Math.floor(index / 50)}/module-${index}.js`,
                    })),
                  ),
                ],
              },
            ]),
          );
          return await peakBytes([
            'build',
            archive,
            '-o',
            path.join(tree.path, `${files}.qcow2`),
            '--filesystem',
            filesystem,
            '--quiet',
          ]);
        };
        const few = await peak(FEW);
        const many = await peak(MANY);
        const perFile = (many - few) / (MANY - FEW);
        assert.ok(
          perFile < MAX_BYTES_PER_FILE,
          `${perFile.toFixed(0)} bytes a file: ${few} bytes for ${FEW}, ${many} for ${MANY}`,
        );
        assert.ok(many < MAX_BYTES, `${many} bytes`);
      },
    );
  }

  it(
    'does not grow with what a layer has that is no file: behind its end, and in a whiteout',
    { skip: !executable && 'only the executable is measured' },
    async () => {
      const tree = await tempTree('dpl-memory');
      const [small, zeros] = [makeTar([{ name: 'small', content: 'x' }]), Buffer.alloc(250e6)];
      for (const [name, layer] of [
        ['behind', Buffer.concat([small, zeros])],
        ['whiteout', makeTar([{ name: '.wh.gone', content: zeros }])],
      ] as const) {
        const archive = path.join(tree.path, `${name}.tar`);
        writeFileSync(archive, tarOf(ociLayout([{ tags: ['memory:1'], layers: [layer] }], 'none')));
        const bytes = await peakBytes(['build', archive, '-o', path.join(tree.path, `${name}.qcow2`), '--quiet']);
        assert.ok(bytes < MAX_BYTES, `${name}: ${bytes} bytes`);
      }
    },
  );
});

/** The most that a run of the agent ever had resident; the kernel keeps the maximum, so a late look misses little. */
async function peakBytes(args: readonly string[]): Promise<number> {
  const [command, ...before] = agentCommand();
  const child = execa(command, [...before, ...args], { stdin: 'ignore' });
  let ended = false;
  void child.finally(() => (ended = true)).catch(() => undefined);
  let peakKb = 0;
  while (!ended) {
    try {
      peakKb = Math.max(
        peakKb,
        Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8'))?.[1] ?? 0),
      );
    } catch {
      // It has just ended.
    }
    await sleep(5);
  }
  await child;
  return peakKb * 1024;
}
