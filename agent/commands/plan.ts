import { existsSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { readConfig, type Config } from '../boot/config.ts';
import { preload } from '../boot/preload.ts';
import { describeStep } from '../boot/steps.ts';
import { stateOf, states } from '../status/state.ts';
import { ensureFolder } from '../system/files.ts';
import { oneLine } from '../system/one-line.ts';
import { enterPrivateMountNamespace, mountTmpfs, unmount } from '../system/mount.ts';

/** Prints what `run` would do now. Disks are mounted for that, but where nobody else sees it. @returns the exit status */
export async function printPlan(options: { readonly config?: string; readonly json?: boolean }): Promise<number> {
  const config = await readConfig(options.config);
  const result = await inPrivateMounts(config, () => preload(config, { wait: false, change: 'never' }));
  const steps = result.plan?.steps ?? [];
  const state = stateOf(result.findings, result.disks.length);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ state, steps: steps.map((step) => ({ do: step.do, text: describeStep(step) })), findings: result.findings })}\n`);
  } else {
    for (const finding of result.findings) process.stderr.write(`${finding.code}: ${oneLine(finding.message)}\n`);
    const text = steps.length === 0 ? 'nothing to do' : steps.map(describeStep).join('\n');
    if (result.plan !== undefined) process.stdout.write(`${text}\n`);
  }
  return states[state].exitStatus;
}

async function inPrivateMounts<Result>(config: Config, action: () => Promise<Result>): Promise<Result> {
  enterPrivateMountNamespace();
  const made = [dirname(config.mountRoot), config.mountRoot].filter((path) => !existsSync(path));
  ensureFolder(config.mountRoot, 0o700);
  mountTmpfs(config.mountRoot);
  try {
    return await action();
  } finally {
    unmount(config.mountRoot, true);
    for (const path of made.toReversed()) rmdirSync(path);
  }
}
