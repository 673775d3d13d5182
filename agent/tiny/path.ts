import { door } from './door.ts';

/** node:path on Linux, as far as the boot path uses it (lib/path.js, posix). */
export function isAbsolute(path: string): boolean {
  return path.startsWith('/');
}

export function normalize(path: string): string {
  if (path === '') return '.';
  if (door.isPlainPath(path)) return path;
  const rest = resolvedNames(path, !isAbsolute(path)).join('/');
  const end = path.endsWith('/') ? '/' : '';
  if (isAbsolute(path)) return rest === '' ? '/' : `/${rest}${end}`;
  return rest === '' ? `.${end}` : `${rest}${end}`;
}

/**
 * The names of a path, without `.` and empty ones. `..` removes the one before.
 * @param above whether it may lead above its beginning
 */
function resolvedNames(path: string, above: boolean): string[] {
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..') names.push(name);
    else if (names.length > 0 && names.at(-1) !== '..') names.pop();
    else if (above) names.push(name);
  }
  return names;
}

export function join(...parts: readonly string[]): string {
  let path = '';
  for (const part of parts) if (part !== '') path = path === '' ? part : `${path}/${part}`;
  return path === '' ? '.' : normalize(path);
}

/** Without the current folder, because nothing here is resolved against that. */
export function resolve(...parts: readonly string[]): string {
  const from = parts.findLastIndex(isAbsolute);
  if (from === -1) throw new Error(`expected an absolute path, found ${parts.join(', ')}`);
  return `/${resolvedNames(parts.slice(from).join('/'), false).join('/')}`;
}

export function dirname(path: string): string {
  if (path === '') return '.';
  const end = withoutSlashes(path, 1);
  const slash = path.lastIndexOf('/', end - 1);
  if (slash === -1) return '.';
  if (slash === 0) return '/';
  return slash === 1 && isAbsolute(path) ? '//' : path.slice(0, slash);
}

export function basename(path: string): string {
  const whole = path.slice(0, withoutSlashes(path, 0));
  return whole.slice(whole.lastIndexOf('/') + 1);
}

/** Where the slashes at the end of a path begin. @param least so much of the path is left in any case */
function withoutSlashes(path: string, least: number): number {
  let end = path.length;
  while (end > least && path[end - 1] === '/') end -= 1;
  return end;
}

/** @param from an absolute path @param to another */
export function relative(from: string, to: string): string {
  const [left, right] = [resolvedNames(resolve(from), false), resolvedNames(resolve(to), false)];
  let same = 0;
  while (same < left.length && same < right.length && left[same] === right[same]) same += 1;
  return [...left.slice(same).map(() => '..'), ...right.slice(same)].join('/');
}
