import type { Finding } from '../messages/finding.ts';
import { type Compared, DifferenceFindings } from './difference-findings.ts';
import { PlanDifferences } from './plan-differences.ts';
import { contentDifferences, hiddenMounts, leftOver } from './unplanned-differences.ts';

/**
 * How the store differs from the disks, one finding for each difference. What is merely due, because a disk came or
 * went or the user removed a tag, is STORE_DIFFERS. What is wrong in the store, so that images do not run, is
 * STORE_DAMAGED. Contents are compared even if they reached the disk long ago, which a plan does not do.
 */
export function differences(compared: Compared): Finding[] {
  const findings = new DifferenceFindings(compared);
  const planned = new PlanDifferences(compared, findings);
  for (const step of compared.plan.steps) planned.addStep(step);
  return [
    ...planned.damage,
    ...planned.due(),
    ...hiddenMounts(compared, findings),
    ...contentDifferences(compared, planned, findings),
    ...leftOver(compared, findings),
  ];
}
