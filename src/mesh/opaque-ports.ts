/** Ports whose protocols are known and are not HTTP: they carry bytes unless their Service says otherwise. */

/** As IANA has them. Whoever waits at one of these for a client's first words waits in vain: the server speaks first. */
const SERVER_FIRST = [
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
];

/** The client speaks first here, and what it says is refused where HTTP is expected. */
const CLIENT_FIRST = [
  5432, // PostgreSQL
  6379, // Redis
  11211, // memcached
  27017, // MongoDB
];

const PORTS: ReadonlySet<number> = new Set([...SERVER_FIRST, ...CLIENT_FIRST]);

export function carriesBytes(port: number): boolean {
  return PORTS.has(port);
}
