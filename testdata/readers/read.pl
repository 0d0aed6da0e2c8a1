# The readers of Perl: what they connect to for each text of the list on
# standard input.
use strict;
use warnings;

my $seen;

BEGIN {
	require Socket;
	*CORE::GLOBAL::connect = sub (*$) {
		my ($socket, $address) = @_;
		my $family = Socket::sockaddr_family($address);
		my $ip = $family == Socket::AF_INET() ? (Socket::unpack_sockaddr_in($address))[1]
			: $family == Socket::AF_INET6() ? (Socket::unpack_sockaddr_in6($address))[1] : undef;
		push @$seen, Socket::inet_ntop($family, $ip) if defined $ip;
		return CORE::connect($socket, $address);
	};
}

use HTTP::Tiny;
use IO::Socket::INET;
use IO::Socket::IP;
use JSON::PP;

delete @ENV{grep { /proxy/i } keys %ENV};
$SIG{PIPE} = 'IGNORE';
my $tiny = HTTP::Tiny->new(timeout => 2);
my @readers = (
	sub { $tiny->get($_[0]) },
	sub { IO::Socket::INET->new(PeerAddr => $_[0], Proto => 'tcp', Timeout => 2) },
	sub { IO::Socket::INET->new(PeerAddr => $_[0], PeerPort => 80, Proto => 'tcp', Timeout => 2) },
	sub { IO::Socket::IP->new(PeerAddr => $_[0], Type => Socket::SOCK_STREAM()) },
	sub { IO::Socket::IP->new(PeerHost => $_[0], PeerPort => 80, Type => Socket::SOCK_STREAM()) },
);
if (eval { require LWP::UserAgent }) {
	my $lwp = LWP::UserAgent->new(timeout => 2, max_redirect => 0,
		ssl_opts => { verify_hostname => 0, SSL_verify_mode => 0 }); # certificates are slow to load
	push @readers, sub { $lwp->get($_[0]) };
}

local $/;
my @answers;
open(my $quiet, '>', '/dev/null');
for my $text (@{decode_json(<STDIN>)}) {
	utf8::encode($text);
	$seen = [];
	for my $read (@readers) {
		local $SIG{__WARN__} = sub { };
		eval { $read->($text) };
	}
	push @answers, $seen;
}
print encode_json(\@answers);
