import type { Finding } from '../messages/finding.ts';
import { labelPattern } from '../config/label.ts';
import { oneLine } from '../text/one-line.ts';
import type { Config } from '../config/config.ts';
import type { FoundDisk } from './discover.ts';
import type { LoadedDisk } from './loaded-disk.ts';

export interface MissingInput {
  /** Named and required labels, and required globs, that no device has. */
  readonly missing: readonly string[];
  readonly disks: readonly LoadedDisk[];
  /** Every device with a label of ours, whether in use or left out. */
  readonly candidates: readonly FoundDisk[];
  /** Labels of disks whose content is not what was pinned. They have findings of their own. */
  readonly unlike: ReadonlySet<string>;
}

/**
 * Findings for labels that are named and not there, and for required ones without a readable disk that has the pinned
 * content.
 */
export function findMissing(
  { required, sources, deviceTimeoutSec }: Config,
  { missing, disks, candidates, unlike }: MissingInput,
): Finding[] {
  const findings: Finding[] = [];
  const patterns = new Set(required.map((entry) => entry.pattern));
  for (const label of missing) {
    if (patterns.has(label)) continue;
    if (sources.includes(label)) {
      findings.push({
        code: 'DISK_MISSING',
        label: label.slice(label.search(/[^/:]*$/)),
        message: `source ${oneLine(label)}: expected it within ${deviceTimeoutSec} s, found none; mount or share it, or take it out of \`sources\``,
      });
      continue;
    }
    findings.push({
      code: 'DISK_MISSING',
      label,
      message: `disk ${label}: expected a device with this label within ${deviceTimeoutSec} s, found none; attach it, or take it out of \`labels\``,
    });
  }
  for (const { pattern, digest } of required) {
    const expression = labelPattern(pattern);
    const found = disks.filter((disk) => expression?.test(disk.content.label));
    if (found.length === 0 && [...unlike].some((label) => expression?.test(label))) continue;
    if (found.length === 0) {
      const left = candidates.filter(({ label }) => expression?.test(label)).map(({ device }) => device.path);
      const which =
        left.length === 0
          ? ` within ${deviceTimeoutSec} s, found none; attach it`
          : `, found only what is left out (${left.join(', ')}), with a finding of its own; mend that, or attach another`;
      findings.push({
        code: 'REQUIRED_MISSING',
        label: pattern,
        message: `required disk ${pattern}: expected a usable disk with this label${which}`,
      });
    } else if (digest !== undefined && !found.some((disk) => disk.content.manifestDigest === digest)) {
      const digests = found.map((disk) => disk.content.manifestDigest ?? 'none').join(', ');
      findings.push({
        code: 'DISK_CONTENT',
        label: pattern,
        message: `required disk ${pattern}: expected a manifest with digest ${digest}, found ${digests}`,
      });
    }
  }
  return findings;
}
