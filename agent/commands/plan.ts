import { readConfig } from '../config/read-config.ts';
import { preload } from '../boot/preload.ts';
import { inPrivateMounts } from '../boot/private-mounts.ts';
import { noDisk } from '../status/no-disk.ts';
import { planDocument } from '../status/status-document.ts';
import { states } from '../status/state.ts';
import { tellLine } from '../system/stderr.ts';

/** Prints what `run` would do now. For that, disks are mounted in a namespace of our own. @returns the exit status */
export async function printPlan(options: { readonly config?: string; readonly json?: boolean }): Promise<number> {
  const config = await readConfig(options.config);
  const result = await inPrivateMounts(config.mountRoot, () =>
    preload(config, { wait: false, change: 'never', privateMounts: true }),
  );
  const document = planDocument(result);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(document)}\n`);
  } else {
    for (const finding of result.findings) tellLine(`${finding.code}: ${finding.message}`);
    const isEmpty = document.state === 'empty';
    const nothing = isEmpty ? `${noDisk(config)}; nothing to do` : 'nothing to do';
    if (result.containerd?.state === 'waiting')
      tellLine(`containerd at ${result.containerd.address} does not run: what is to be done in its store is not known`);
    if (isEmpty && document.steps.length > 0) tellLine(noDisk(config));
    const text = document.steps.length === 0 ? nothing : document.steps.map(({ text: step }) => step).join('\n');
    if (result.plan !== undefined || result.containerd !== undefined) process.stdout.write(`${text}\n`);
  }
  return states[document.state].exitStatus;
}
