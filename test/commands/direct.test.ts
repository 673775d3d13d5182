import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { directCommand } from '../../agent/commands/direct.ts';
import { createProgram } from '../../agent/commands/program.ts';

/** How commander reads the options of a command. */
function byCommander(args: readonly string[]): unknown {
  const program = createProgram(() => undefined);
  let read: unknown;
  for (const command of program.commands)
    command
      .exitOverride()
      .configureOutput({ writeErr: () => undefined })
      .action((...given: unknown[]) => {
        read = { command: command.name(), ...(given.at(-2) as object) };
      });
  program.parse(args, { from: 'user' });
  return read;
}

describe('a command line of the boot', () => {
  for (const line of [
    'run',
    'run --config /etc/a.json',
    'run --config /etc/a.json --config /etc/b.json',
    'apply',
    'apply --degraded-ok',
    'apply --config /etc/a.json --degraded-ok --only containerd',
    'apply --only overlay2 --timeout 300',
    'apply --only overlay2 --only containerd --timeout 5 --timeout 999999 --degraded-ok --degraded-ok',
  ])
    it(`'${line}' is read as by commander`, () => {
      const { degradedOk, timeout, ...rest } = directCommand(line.split(' ')) ?? {};
      const of = line.startsWith('run') ? rest : { ...rest, timeout, ...(degradedOk === true ? { degradedOk } : {}) };
      assert.deepEqual(of, byCommander(line.split(' ')));
    });

  for (const line of [
    '',
    'plan',
    'run --only overlay2',
    'run --timeout 5',
    'run --degraded-ok',
    'run --help',
    'apply --config',
    'apply --config --degraded-ok',
    'apply --config=/etc/a.json',
    'apply --only docker',
    'apply --only',
    'apply --timeout 0',
    'apply --timeout 1.5',
    'apply --timeout 1000000',
    'apply --frobnicate',
    'apply toString',
    'apply x',
  ])
    it(`'${line}' is left to commander`, () => {
      assert.equal(directCommand(line.split(' ')), undefined);
    });
});
