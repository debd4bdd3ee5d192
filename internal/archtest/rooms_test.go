package archtest

// room is a line of the plan of the house in docs/architecture.md.
type room struct {
	// floor is how high it lies. An arrow may only point to a lower floor.
	floor int
	// may lists what its code imports of ours; its tests may import more.
	may []string
	// open says that every higher room may import it without being listed:
	// it has no words of its own, only a mechanism.
	open bool
	// quiet says that its code starts no goroutine, ever: it runs on its
	// caller's.
	quiet bool
	// planned says that nobody has built it yet.
	planned bool
}

// Names that stand for many in room.may.
const (
	allBelow    = "*"        // every room on a lower floor
	publicBelow = "public/*" // of those, the ones that users may import too
)

// rooms is the plan of the house.
var rooms = map[string]room{
	// Ground: words and mechanisms.
	".":                  {},
	"call":               {quiet: true},
	"discovery":          {},
	"tlsutil":            {},
	"internal/archtest":  {},
	"internal/consul":    {},
	"internal/crashtest": {}, // for tests only
	"internal/deadline":  {open: true, quiet: true},
	"internal/lastgood":  {},
	"internal/mono":      {open: true, quiet: true},
	"internal/tcp":       {open: true, quiet: true},
	"internal/window":    {open: true, quiet: true},

	// Floor 1: one mechanism each.
	"balancer":                {floor: 1, quiet: true, may: []string{"call", "discovery"}},
	"breaker":                 {floor: 1, quiet: true, may: []string{"call"}},
	"deadletter":              {floor: 1, may: []string{"call"}},
	"discovery/consul":        {floor: 1, may: []string{"discovery", "internal/consul", "internal/lastgood"}},
	"discovery/discoverytest": {floor: 1, may: []string{"discovery"}},
	"discovery/dns":           {floor: 1, may: []string{"discovery", "internal/lastgood"}, planned: true},
	"discovery/file":          {floor: 1, may: []string{"discovery", "internal/lastgood"}, planned: true},
	"health":                  {floor: 1, may: []string{"discovery"}},
	"inbound/audit":           {floor: 1},
	"inbound/audit/file":      {floor: 1},
	"inbound/caller":          {floor: 1, quiet: true, may: []string{"tlsutil"}},
	"idempotency":             {floor: 1, may: []string{"call"}},
	"internal/admin":          {floor: 1},
	"internal/consultest":     {floor: 1, may: []string{"internal/consul"}},
	"internal/listener":       {floor: 1, may: []string{"tlsutil"}},
	"internal/telemetry":      {floor: 1, may: []string{"call"}},
	"limit":                   {floor: 1, quiet: true, may: []string{"call"}},
	"retry":                   {floor: 1, quiet: true, may: []string{"call"}},
	"tlsutil/consulca":        {floor: 1, may: []string{"tlsutil", "internal/consul"}},

	// Floor 2: the words of configuration, and stores.
	"deadletter/bolt":             {floor: 2, may: []string{"deadletter"}},
	"deadletter/deadlettertest":   {floor: 2, may: []string{"deadletter"}},
	"idempotency/bolt":            {floor: 2, may: []string{"idempotency"}},
	"idempotency/idempotencytest": {floor: 2, may: []string{"idempotency"}},
	"inbound/intention":           {floor: 2, quiet: true, may: []string{"tlsutil", "internal/consul"}},
	"internal/consultest/build":   {floor: 2, may: []string{"internal/consultest"}},
	"internal/sim":                {floor: 2}, // tests only
	"policy":                      {floor: 2, quiet: true, may: []string{"discovery", "balancer", "breaker", "retry", "limit"}},
	"saga":                        {floor: 2, may: []string{"call", "deadletter", "idempotency"}},

	// Floor 3: what a service is made of, and logs of sagas.
	"inbound":     {floor: 3, quiet: true, may: []string{"call", "policy", "limit", "tlsutil", "internal/telemetry"}},
	"inbound/jwt": {floor: 3, may: []string{"inbound/intention", "internal/consul"}},
	"internal/cluster": {floor: 3, may: []string{
		"call", "discovery", "balancer", "breaker", "limit", "policy", "internal/telemetry",
	}},
	"internal/route": {floor: 3, quiet: true, may: []string{"policy"}},
	"policy/consul":  {floor: 3, may: []string{"policy", "internal/consul"}},
	"saga/bolt":      {floor: 3, may: []string{"saga"}},
	"saga/sagatest":  {floor: 3, may: []string{"saga"}},

	// Floor 4: where calls go, and who may call.
	"inbound/access": {floor: 4, may: []string{
		"inbound/caller", "inbound/intention", "inbound/jwt", "internal/consul", "tlsutil",
	}},
	"internal/upstream": {floor: 4, may: []string{
		"call", "discovery", "balancer", "retry", "limit", "policy", "internal/cluster", "internal/route", "internal/telemetry",
	}},

	// Floor 5: the path of a call.
	"internal/outbound": {floor: 5, may: []string{
		"call", "discovery", "balancer", "internal/cluster", "internal/route", "internal/upstream", "retry", "limit", "policy", "internal/telemetry",
		"idempotency",
	}},

	// Floor 6: translators.
	"internal/grpcadapter": {floor: 6, may: []string{
		"call", "discovery", "tlsutil", "internal/listener", "policy", "limit", "internal/cluster", "internal/route", "internal/upstream", "internal/outbound", "inbound",
		"deadletter", "health", "idempotency",
	}},
	"internal/httpadapter": {floor: 6, may: []string{
		"call", "discovery", "tlsutil", "policy", "limit", "internal/cluster", "internal/route", "internal/upstream", "internal/outbound", "inbound",
		"idempotency",
	}},

	// Floor 7: front doors.
	"mesh": {floor: 7, may: []string{allBelow}},

	// Floor 8: those who live in front of the house.
	"examples/...": {floor: 8, may: []string{publicBelow, "internal/consultest"}},
	"meshtest":     {floor: 8, may: []string{publicBelow}, planned: true},

	// They have tests only, of the whole house.
	"internal/drill":   {floor: 8},
	"internal/interop": {floor: 8},
}
