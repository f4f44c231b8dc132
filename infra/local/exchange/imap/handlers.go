package imap

// state a command needs
type state int

const (
	anyState state = iota
	authenticated
	withFolder
)

// handler runs a command; it returns the text after "tag OK".
type handler struct {
	needs state
	run   func(*session, command) (string, error)
}

var handlers map[string]handler

func init() {
	handlers = map[string]handler{
		"CAPABILITY":   {anyState, (*session).capability},
		"NOOP":         {anyState, completed},
		"ID":           {anyState, (*session).id},
		"LOGOUT":       {anyState, (*session).bye},
		"AUTHENTICATE": {anyState, (*session).authenticate},
		"LOGIN":        {anyState, (*session).login},
		"STARTTLS":     {anyState, func(*session, command) (string, error) { return "", wrongState }},
		"NAMESPACE":    {authenticated, (*session).namespace},
		"LIST":         {authenticated, (*session).list},
		"LSUB":         {authenticated, (*session).list},
		"SUBSCRIBE":    {authenticated, (*session).subscribe},
		"UNSUBSCRIBE":  {authenticated, (*session).subscribe},
		"CREATE":       {authenticated, (*session).create},
		"DELETE":       {authenticated, (*session).deleteFolder},
		"RENAME":       {authenticated, (*session).rename},
		"STATUS":       {authenticated, (*session).status},
		"SELECT":       {authenticated, (*session).selectFolder},
		"EXAMINE":      {authenticated, (*session).selectFolder},
		"APPEND":       {authenticated, (*session).appendMessage},
		"IDLE":         {authenticated, (*session).idle},
		"CHECK":        {withFolder, completed},
		"CLOSE":        {withFolder, (*session).closeFolder},
		"UNSELECT":     {withFolder, (*session).unselect},
		"EXPUNGE":      {withFolder, (*session).expunge},
		"SEARCH":       {withFolder, (*session).search},
		"FETCH":        {withFolder, (*session).fetch},
		"STORE":        {withFolder, (*session).storeFlags},
		"COPY":         {withFolder, (*session).copyMessages},
		"MOVE":         {withFolder, (*session).copyMessages},
	}
	for _, name := range []string{"SEARCH", "FETCH", "STORE", "COPY", "MOVE", "EXPUNGE"} {
		handlers["UID "+name] = handlers[name]
	}
}

func completed(_ *session, c command) (string, error) { return c.name + " completed.", nil }
