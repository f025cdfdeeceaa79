/** Ports whose servers speak first, as IANA has them: whoever waits there for a client's first words waits in vain. */

const PORTS: ReadonlySet<number> = new Set([
  21, // FTP
  22, // SSH
  23, // Telnet
  25, // SMTP
  110, // POP3
  119, // NNTP
  143, // IMAP
  587, // SMTP, submission
  3306, // MySQL, MariaDB
  5900, // RFB (VNC)
]);

export function serverSpeaksFirst(port: number): boolean {
  return PORTS.has(port);
}
