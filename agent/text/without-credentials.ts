/**
 * A message without who asks and by which password, where it quotes an address as somebody has typed it, such as
 * `docker://user:password@host/app`. Messages end up in logs.
 */
export function withoutCredentials(message: string): string {
  return (
    message
      .replaceAll(/(:\/\/)[^\s'"]*@(?!sha256:)/g, '$1')
      // An address that was taken for a path has one slash less.
      .replaceAll(/(:\/)[^\s'"/:]+:[^\s'"]*@(?!sha256:)/g, '$1')
  );
}
