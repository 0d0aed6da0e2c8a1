# The readers of Ruby: what they connect to for each text of the list on
# standard input.
require "json"
require "net/http"
require "socket"
require "uri"

ENV.delete_if { |name, _| name =~ /proxy/i }
$seen = nil

class << TCPSocket
  alias_method :open_unseen, :open
  def open(*args, **options)
    open_unseen(*args, **options).tap { |socket| $seen << socket.remote_address.ip_address }
  end
end

readers = [
  ->(text) { Net::HTTP.get(URI(text)) },
  ->(text) { Net::HTTP.get(URI.parse(text).host, "/") },
  ->(text) { TCPSocket.open(text, 80).close },
  ->(text) { $seen << Addrinfo.tcp(text, 80).ip_address },
]
answers = JSON.parse($stdin.read).map do |text|
  $seen = []
  readers.each do |read|
    read.call(text)
  rescue StandardError
    # refused
  end
  $seen
end
puts JSON.generate(answers)
