import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { execa } from 'execa';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import { scratch } from '../support/temp-tree.ts';

describe("the small engine's memory", () => {
  it('keeps the content of each block, counts them, and has its limit', async (t) => {
    const program = path.join(scratch(t), 'memory');
    const { folder } = await agreedEngine(path.resolve(import.meta.dirname, '../..'));
    const source = path.join(import.meta.dirname, 'memory.c');
    const flags = '-std=gnu11 -O1 -D_GNU_SOURCE -fsanitize=undefined -fno-sanitize-recover=all -Wall -Wextra -Werror';
    await execa('gcc', [...flags.split(' '), '-isystem', folder, source, '-o', program]);
    const { exitCode, all } = await execa(program, { reject: false, all: true });
    assert.equal(exitCode, 0, all);
  });
});
