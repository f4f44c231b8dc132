package migrate

// Reason says more closely what is behind a Kind, where that changes what the administrator can do.
// It is stored, so its words stay.
type Reason string

// The reasons.
const (
	WrongPassword    Reason = "wrong-password"           // or an unknown login: few servers tell them apart
	AccountLocked    Reason = "account-locked"           // too many failures, or locked by hand
	AppPassword      Reason = "app-password-needed"      // the account's own password does not work for programs
	BasicAuthOff     Reason = "basic-authentication-off" // the provider takes no passwords at all
	PasswordExpired  Reason = "password-expired"         // or must be changed before the first use
	IMAPDisabled     Reason = "imap-disabled"            // for this account
	NotEntitled      Reason = "not-entitled"             // who signs in may not open this mailbox
	AskServerAdmin   Reason = "contact-server-admin"     // the server says that only its administrator can help
	OtherServer      Reason = "on-another-server"        // of those that make up the source, see RFC 2221
	AdminRefused     Reason = "administrator-refused"    // of an administrator's sign-in
	TokenRefused     Reason = "token-refused"            // the server does not take the access token
	ConsentMissing   Reason = "consent-missing"          // the token service does not know or allow this application
	RefreshTokenDead Reason = "refresh-token-dead"       // expired, revoked or used up
	ClearTextRefused Reason = "clear-text-refused"       // the server wants TLS before a password
	NoMechanism      Reason = "no-mechanism"             // no way to sign in that both sides have
	ServerUnproven   Reason = "server-unproven"          // the server did not prove that it knows the password
	SettingMissing   Reason = "setting-missing"          // an app setting that the endpoint names
	ClockSkew        Reason = "clock-skew"               // of Kerberos, or of a service account's request
	UnknownAuthority Reason = "unknown-authority"        // nobody trusted signed the certificate
	CertExpired      Reason = "certificate-expired"      // or not valid yet
	CertWrongName    Reason = "certificate-wrong-name"   // it is another server's
	CertChanged      Reason = "certificate-not-pinned"   // it is not the one the endpoint pins
	CertUnreadable   Reason = "certificate-malformed"    // or its key is too short; a pin does not make up for it
	CertOther        Reason = "certificate-invalid"      // anything else
	TLSTooOld        Reason = "tls-too-old"              // no version or cipher suite that both sides allow
	NotTLS           Reason = "not-tls"                  // the port speaks something else
	NoSuchHost       Reason = "no-such-host"             // the name does not resolve
	ConnectRefused   Reason = "connection-refused"       // nothing listens there
	ConnectTimeout   Reason = "connection-timed-out"     // nothing answers
	NoRoot           Reason = "no-user-root"             // the CSV's UserRoot names no folder
	Changed          Reason = "changed"                  // a message is not what it was when its first octets came
	BrokeOff         Reason = "broke-off"                // the connection to the target ended while a message was on its way
	EndpointResting  Reason = "endpoint-resting"         // too many refused sign-ins in a row, see Brake

	AccountCrowded     Reason = "too-many-connections-of-account" // the server takes no more to this mailbox
	ServerCrowded      Reason = "too-many-connections"            // the server takes no more from anybody, or from this app
	ServerClosesAtOnce Reason = "closed-at-once"                  // ServerCrowded, or it does not let this app in
	TooFast            Reason = "too-fast"                        // too many requests, or octets, in a short time
	AllowanceUsed      Reason = "allowance-used-up"               // of a day, most likely
	ServerIll          Reason = "server-unavailable"              // for now, says the server; some say so of a single message
	NotConnected       Reason = "not-connected"                   // signed in, says Exchange, and opens nothing: enough for now, or refused after all
)

// reasonAdvice is what an administrator can do, one or two sentences; it goes before the Kind's.
var reasonAdvice = map[Reason]string{
	WrongPassword:    "Check login and password with a mail program, then drop the CSV again with the right ones; until then this mailbox is not tried again. Some servers want an app password when two-factor sign-in is on.",
	AccountLocked:    "Let the source server's administrator unlock the account, then drop the CSV again; until then it is not tried again.",
	AppPassword:      "Make an app password in the account's security settings at the provider and drop the CSV again with it, or use auth xoauth2.",
	BasicAuthOff:     "The provider takes access tokens only: give the endpoint oauth.",
	PasswordExpired:  "Set a new password at the source server, then drop the CSV again with it.",
	IMAPDisabled:     "Enable IMAP for this account at the source server, then drop the CSV again.",
	NotEntitled:      "Check the password and that the mailbox exists, and give the account that signs in the right to open it at the source server, then drop the CSV again.",
	AskServerAdmin:   "Ask the source server's administrator what is wrong with this account, then drop the CSV again.",
	OtherServer:      "Set the endpoint's host to the proxy in front of the servers, as mail programs use it, or give the mailboxes of the other server an endpoint of their own with it as host.",
	AdminRefused:     "Check the endpoint's admin user and password, and that the login names an existing mailbox, then drop the CSV again.",
	TokenRefused:     "Check that the login is the token's mailbox, that the application has IMAP access to it and that IMAP is enabled for it, then drop the CSV again.",
	ConsentMissing:   "Check clientID, secret and tenant of the endpoint's oauth, and the consent given to the application; the mailbox is tried again every five minutes.",
	RefreshTokenDead: "Let the mailbox's owner consent again and drop the CSV with the new refresh token.",
	ClearTextRefused: "Set the endpoint's security to tls or starttls.",
	NoMechanism:      "Set the endpoint's auth to one of those the server offers, or its security to tls or starttls: servers often offer more there.",
	ServerUnproven:   "Check that host and port are the right server's: it let us in without proof that it knows the password.",
	SettingMissing:   "Add the app setting that is named; the mailbox is tried again every five minutes.",
	ClockSkew:        "Set the clocks of this machine, and of the KDC and the source server where there is one, right.",
	UnknownAuthority: "If this certificate is the right server's, put its authority into the endpoint's ca, or its SHA-256 into fingerprint.",
	CertExpired:      "Renew the server's certificate, or put its SHA-256 into the endpoint's fingerprint if it is the right server's.",
	CertWrongName:    "Set the endpoint's host to a name of the certificate, or put its SHA-256 into fingerprint if it is the right server's.",
	CertChanged:      "If the server's certificate was renewed, put the new SHA-256 into the endpoint's fingerprint; else somebody may be in between.",
	CertUnreadable:   "Give the server a new certificate, of its own making if need be: this one is malformed or its key is too short, and no setting makes up for that.",
	CertOther:        "If this certificate is the right server's, put its SHA-256 into the endpoint's fingerprint.",
	TLSTooOld:        "Set the endpoint's minTLS to 1.0 if the server cannot be updated; that also allows the old cipher suites.",
	NotTLS:           "The server does not speak TLS on this port: check the endpoint's port and security (tls is usually 993, starttls 143).",
	NoSuchHost:       "Check the endpoint's host; the name must resolve from where this app runs.",
	ConnectRefused:   "Check the endpoint's port, that the server is up, and that its firewall lets this app in.",
	ConnectTimeout:   "Check host and port, that the server is up, and that its firewall lets this app in.",
	NoRoot:           "Correct UserRoot in the CSV, with the names that the server lists, then drop it again.",
	EndpointResting:  "Correct what the failed mailboxes of this endpoint report; a CSV dropped with new credentials ends the rest.",

	AccountCrowded:     "Nothing to do: it is tried again with growing pauses. Fewer connections of this endpoint, or fewer mail programs that are open, leave more room.",
	ServerCrowded:      "It is tried again with growing pauses, and fewer connections are made. Let the source server take more, or set the endpoint's maxConnections below its limit.",
	ServerClosesAtOnce: "It is tried again with growing pauses. Let the source server take more connections from this app's address (Courier: MAXPERIP), or set the endpoint's maxConnections below its limit; check that it has not banned the address.",
	TooFast:            "Nothing to do: the server asked for a pause and gets it.",
	AllowanceUsed:      "Nothing to do: the server gives so much a day, and the mailbox goes on every few hours. At Google, an administrator can restore the account before.",
	NotConnected:       "Either the server has had enough of this app for a while, and it is tried a few times within four hours, or it refuses the mailbox after all: check login, password, that IMAP is enabled for the mailbox and that the account that signs in may open it, then drop the CSV again.",
	ServerIll:          "It is tried again with growing pauses. If it stays so, ask the source server's administrator.",
}
