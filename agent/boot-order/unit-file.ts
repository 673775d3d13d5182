import type { UnitFacts } from './boot-document.ts';
import { quoted } from './shell.ts';

/** Has systemd read its units again. */
export const RELOAD = 'systemctl daemon-reload';

/** Whether another unit file overrides the packaged one. */
export function isForeign({ fragmentPath }: UnitFacts): boolean {
  return fragmentPath.startsWith('/etc/') || fragmentPath.startsWith('/run/');
}

/** The command that lets the packaged unit file count again. */
export function restoreUnit({ fragmentPath }: UnitFacts): string {
  return `rm ${quoted(fragmentPath)} && ${RELOAD}`;
}

/** The command that unmasks a unit, without its name. */
export function unmask({ unitFileState }: UnitFacts): string {
  return `systemctl unmask${unitFileState === 'masked-runtime' ? ' --runtime' : ''}`;
}
