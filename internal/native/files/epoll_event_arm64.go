// SPDX-License-Identifier: Apache-2.0

package files

// epollEventSize is the size of struct epoll_event, with its padding.
const epollEventSize = 16
