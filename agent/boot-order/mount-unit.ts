/**
 * The name of a path's mount unit, as `systemd-escape --path --suffix=mount` makes it (systemd, src/basic/unit-name.c).
 */
export function mountUnit(path: string): string {
  const inner = path.replaceAll(/\/+/g, '/').replace(/^\//, '').replace(/\/$/, '');
  if (inner === '') return '-.mount';
  const escaped = [...Buffer.from(inner)].map((byte, index) => {
    const character = String.fromCharCode(byte);
    if (character === '/') return '-';
    return /[A-Za-z0-9:_.]/.test(character) && !(index === 0 && character === '.')
      ? character
      : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `${escaped.join('')}.mount`;
}
